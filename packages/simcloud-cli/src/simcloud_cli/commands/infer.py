"""`simcloud infer`: one's own pictures and videos through the router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simcloud_cli.commands.common import DEFAULT_MODEL, JsonOption, ModelOption


def infer(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Pictures, videos, folders of them, patterns, s3://bucket/key or /prefix; mixed.",
        ),
    ],
    *,
    model: ModelOption = DEFAULT_MODEL,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Lowest confidence of a detection.")
    ] = 0.35,
    top_k: Annotated[int, typer.Option(min=1, help="Classes a picture, of a classifier.")] = 5,
    every: Annotated[
        int | None, typer.Option(min=1, help="Every so many frames of a video.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Frames a second of a video's time. By default 1."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many frames of each video.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the pictures as seen.")
    ] = Path("detections"),
    json: JsonOption = False,
) -> None:
    """Sends pictures to a model and draws what it sees.

    What can't be read or gets no answer is said in its row; the rest goes on, the exit code is 3.
    """
    from simcloud_cli.inferflow import InferOptions, infer_paths
    from simcloud_cli.videoframes import Sampling

    options = InferOptions(
        model=model,
        threshold=threshold,
        top_k=top_k,
        sampling=Sampling(every=every, fps=fps, limit=limit),
        output=output,
        json=json,
    )
    raise typer.Exit(infer_paths(paths, options))
