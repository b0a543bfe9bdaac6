"""How bars of a terminal begin and end, and how lines stand above them; always standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import Progress, ProgressColumn

from simcloud_cli.output import console


class Bars:
    """Bars within a block, of these columns; elsewhere than on a terminal nothing is drawn."""

    def __init__(self, *columns: ProgressColumn) -> None:
        out = console(stderr=True)
        self.terminal = out.is_terminal
        """Whether anybody sees bars."""
        self.progress = Progress(*columns, console=out, disable=not out.is_terminal)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """They live no longer; what was said stays."""
        self.progress.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        self.progress.console.print(text, markup=False)
