"""`simcloud run` and `simcloud resume`: from a spec to labelled, scored data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simcloud_cli.commands.common import (
    DEFAULT_MODEL,
    AllowQuarantineOption,
    JsonOption,
    KubeContextOption,
    ModelOption,
    NamespaceOption,
    OnOption,
    OutputOption,
    OverlayOption,
    RunArgument,
    Where,
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
    shards_per_task: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Shards of one task, for `--shards auto` (1 by default) and of one pod (the "
            "overlay's by default).",
        ),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    score: ScoreOption = True,
    allow_mixed_fingerprints: MixedOption = False,
    allow_quarantine: AllowQuarantineOption = 0,
    preview: PreviewOption = True,
    on: OnOption = Where.HERE,
    overlay: OverlayOption = None,
    namespace: NamespaceOption = None,
    kube_context: KubeContextOption = None,
    pods: Annotated[
        int | None,
        typer.Option(min=1, help="With --on kubernetes: pods at once; the overlay's by default."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="With --on kubernetes: a new Job for what an ended one left missing."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --on kubernetes: print the YAML, make nothing.")
    ] = False,
    every_s: Annotated[
        float,
        typer.Option(min=0.1, help="With --on kubernetes: seconds between looks at the Job."),
    ] = 5.0,
    stuck_minutes: Annotated[
        float,
        typer.Option(
            min=0,
            help="With --on kubernetes: longest time in which no pod can start (image, node, "
            "configuration) until the command ends; the Job stays.",
        ),
    ] = 15.0,
    output: OutputOption = None,
    json: JsonOption = False,
) -> None:
    """Renders a spec's frames into S3, scores them with a model and writes a report.

    The same command again resumes: it renders nothing that is stored. With `--on kubernetes` it
    joins the Job that is at work.
    """
    from simcloud.errors import InvalidRequest
    from simcloud_cli.runflow import RunOptions, run_spec
    from simcloud_cli.specfile import read_spec_file

    if on is Where.HERE and (namespace or kube_context or pods or resume or dry_run):
        raise InvalidRequest("--on", "is `here`: the cluster's options are for --on kubernetes")
    options = RunOptions(
        frames=frames,
        frames_per_shard=frames_per_shard,
        name=name,
        shards=shards,
        shards_per_task=shards_per_task or 1,
        model=model,
        score=score,
        allow_mixed_fingerprints=allow_mixed_fingerprints,
        allow_quarantine=allow_quarantine,
        preview=preview,
        output=output,
        json=json,
    )
    spec_file = read_spec_file(spec)
    if on is Where.HERE:
        raise typer.Exit(run_spec(spec_file, options))
    from simcloud_cli.kubernetes.options import ClusterOptions
    from simcloud_cli.kubernetes.run import run_on_kubernetes

    cluster = ClusterOptions(
        overlay=overlay,
        namespace=namespace,
        kube_context=kube_context,
        pods=pods,
        shards_per_task=shards_per_task,
        resume=resume,
        dry_run=dry_run,
        every_s=every_s,
        stuck_minutes=stuck_minutes,
    )
    raise typer.Exit(run_on_kubernetes(spec_file, options, cluster))


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
