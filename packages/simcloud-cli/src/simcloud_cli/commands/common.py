"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document in place of tables.")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Name of a run, or its s3:// URI.")]
ModelOption = Annotated[str, typer.Option("--model", "-m", help="Model of the router's catalogue.")]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for pictures and the report."),
]
AllowQuarantineOption = Annotated[
    int,
    typer.Option(min=0, help="Quarantined frames up to which the exit code is still 0."),
]


class Where(StrEnum):
    """Where a run is rendered."""

    HERE = "here"
    """By the generator of the context."""
    KUBERNETES = "kubernetes"
    """By pods of an Indexed Job."""


OnOption = Annotated[
    Where,
    typer.Option(help="`here`: by the context's generator; `kubernetes`: by pods of a Job."),
]
OverlayOption = Annotated[
    Path | None,
    typer.Option(
        envvar="SIMCLOUD_OVERLAY",
        help="With --on kubernetes: kustomization on deploy/k8s/run-job, where the cluster's "
        "images, region and components are.",
    ),
]
NamespaceOption = Annotated[
    str | None, typer.Option(help="With --on kubernetes: in place of the overlay's namespace.")
]
KubeContextOption = Annotated[
    str | None,
    typer.Option(help="With --on kubernetes: context of the kubeconfig; its current one."),
]

DEFAULT_MODEL = "nanodet-g"


def output_folder(chosen: Path | None, state_dir: str, run: str) -> Path:
    """Where a run's local files go: the option's folder, else one in the state folder; made."""
    folder = chosen or Path(state_dir).expanduser() / "out" / run
    folder.mkdir(parents=True, exist_ok=True)
    return folder
