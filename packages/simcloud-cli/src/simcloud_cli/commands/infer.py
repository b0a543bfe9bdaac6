"""`simcloud infer`: one's own pictures through the router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simcloud_cli.commands.common import DEFAULT_MODEL, JsonOption, ModelOption


def infer(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Pictures, folders of pictures, or s3:// URIs."),
    ],
    *,
    model: ModelOption = DEFAULT_MODEL,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Lowest confidence of a detection.")
    ] = 0.35,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the pictures with boxes.")
    ] = Path("detections"),
    json: JsonOption = False,
) -> None:
    """Sends pictures to a model and draws what it sees."""
    from simcloud_cli.inferflow import infer_paths

    raise typer.Exit(infer_paths(paths, model, threshold, output, json=json))
