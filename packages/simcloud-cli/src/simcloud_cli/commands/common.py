"""Options that several commands have."""

from __future__ import annotations

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

DEFAULT_MODEL = "nanodet-g"


def output_folder(chosen: Path | None, state_dir: str, run: str) -> Path:
    """Where a run's local files go: the option's folder, else one in the state folder; made."""
    folder = chosen or Path(state_dir).expanduser() / "out" / run
    folder.mkdir(parents=True, exist_ok=True)
    return folder
