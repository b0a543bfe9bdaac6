"""What a command prints: tables, progress and one JSON document; readable without colour.

Answers go to standard output, everything else (progress, errors) to standard error, so that
``simcloud ... --json | jq`` works.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from simcloud.errors import SimcloudError

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 140


def console(*, stderr: bool = False) -> Console:
    """A rich console; plain text where no terminal is."""
    from rich.console import Console

    out = Console(stderr=stderr, highlight=False, soft_wrap=True)
    # A file or a pipe has no width; rich would take 80 and break every table.
    return (
        out
        if out.is_terminal
        else Console(stderr=stderr, highlight=False, soft_wrap=True, width=_PIPE_WIDTH)
    )


def print_json(document: object) -> None:
    """One JSON document on standard output; whoever reads a pipe has it at once."""
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; columns whose cells are all numbers are right-aligned."""
    from rich.table import Table

    cells = [[_cell(value) for value in row] for row in rows]
    table = Table(title=title or None, title_justify="left", show_edge=False, pad_edge=False)
    for index, name in enumerate(columns):
        numeric = bool(cells) and all(_numeric(row[index]) for row in cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    console().print(table)


def print_error(error: SimcloudError, *, as_json: bool) -> None:
    """An error in one line, the values that came with it below."""
    if as_json:
        print_json(
            {
                "error": {
                    "reason": error.reason,
                    "message": error.message,
                    "retryable": error.retryable,
                    "details": error.metadata,
                }
            }
        )
        return
    out = console(stderr=True)
    out.print(f"[bold red]error[/] ({error.reason.lower()}): ", end="")
    out.print(error.message, markup=False)
    for key, value in error.metadata.items():
        if value and value not in error.message:
            out.print(f"  {key}: {value}", markup=False)


def human_bytes(count: float) -> str:
    """A size in the unit that suits it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def ratio(value: float | None) -> str:
    """A ratio with three digits; a dash when there is nothing to divide by."""
    return "-" if value is None else f"{value:.3f}"


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return escape(str(value))


def _numeric(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).replace(",", "").lstrip("-$").isdigit()
