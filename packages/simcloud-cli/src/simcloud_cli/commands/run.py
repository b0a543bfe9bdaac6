"""`simcloud run` and `simcloud resume`: from a spec to labelled, scored data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simcloud_cli.commands.common import (
    DEFAULT_MODEL,
    AllowQuarantineOption,
    JsonOption,
    ModelOption,
    OutputOption,
    RunArgument,
)

ShardsOption = Annotated[
    str,
    typer.Option(
        help="Shards this process answers for: `3`, `0-15`, `1,4-6`, or `auto` from the "
        "scheduler's array index. All by default."
    ),
]
ShardsPerTaskOption = Annotated[
    int, typer.Option(min=1, help="Shards of one task, for `--shards auto`.")
]
ScoreOption = Annotated[
    bool, typer.Option("--score/--no-score", help="Score the run with a model at its end.")
]
MixedOption = Annotated[
    bool,
    typer.Option(
        "--allow-mixed-fingerprints",
        help="Let shards made by another renderer version or CPU generation stand in one run.",
    ),
]
PreviewOption = Annotated[
    bool, typer.Option("--preview/--no-preview", help="Render the first picture ahead.")
]


def run(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC", help="Spec's YAML, or the folder of a spec.yaml.")
    ],
    *,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames", "-n", min=1, help="Frames of the run; by default those it has, else 48."
        ),
    ] = None,
    frames_per_shard: Annotated[
        int | None,
        typer.Option(min=1, help="Frames of a shard; never changes later. By default 256."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; by default made from the spec.")
    ] = None,
    shards: ShardsOption = "",
    shards_per_task: ShardsPerTaskOption = 1,
    model: ModelOption = DEFAULT_MODEL,
    score: ScoreOption = True,
    allow_mixed_fingerprints: MixedOption = False,
    allow_quarantine: AllowQuarantineOption = 0,
    preview: PreviewOption = True,
    output: OutputOption = None,
    json: JsonOption = False,
) -> None:
    """Renders a spec's frames into S3, scores them with a model and writes a report.

    The same command again resumes: it renders nothing that is stored.
    """
    from simcloud_cli.runflow import RunOptions, run_spec
    from simcloud_cli.specfile import read_spec_file

    options = RunOptions(
        frames=frames,
        frames_per_shard=frames_per_shard,
        name=name,
        shards=shards,
        shards_per_task=shards_per_task,
        model=model,
        score=score,
        allow_mixed_fingerprints=allow_mixed_fingerprints,
        allow_quarantine=allow_quarantine,
        preview=preview,
        output=output,
        json=json,
    )
    raise typer.Exit(run_spec(read_spec_file(spec), options))


def resume(
    run_name: RunArgument,
    *,
    shards: ShardsOption = "",
    shards_per_task: ShardsPerTaskOption = 1,
    model: ModelOption = DEFAULT_MODEL,
    score: ScoreOption = True,
    allow_mixed_fingerprints: MixedOption = False,
    allow_quarantine: AllowQuarantineOption = 0,
    output: OutputOption = None,
    json: JsonOption = False,
) -> None:
    """Goes on with a run by what S3 knows of it; needs no spec on this machine."""
    from simcloud_cli.runflow import RunOptions, resume_run

    options = RunOptions(
        frames=None,
        frames_per_shard=None,
        name=run_name,
        shards=shards,
        shards_per_task=shards_per_task,
        model=model,
        score=score,
        allow_mixed_fingerprints=allow_mixed_fingerprints,
        allow_quarantine=allow_quarantine,
        preview=False,
        output=output,
        json=json,
    )
    raise typer.Exit(resume_run(run_name, options))
