"""One line that lives while a Job is followed: a bar on a terminal, a line a change elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from simcloud.dataset.manifest import Collected
from simcloud.dataset.rundoc import RunDocuments
from simcloud_cli.output import console


class LiveLine:
    """Shows looks at a Job, on standard error."""

    def __init__(self) -> None:
        out = console(stderr=True)
        self._progress = Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=out,
            disable=not out.is_terminal,
        )
        self._terminal = out.is_terminal
        self._task: TaskID | None = None
        self._last = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """It lives no longer; what is said stays."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line above the living one."""
        self._progress.console.print(text, markup=False)

    def show(self, words: str, stored: Collected, documents: RunDocuments) -> None:
        """The state of things, in place of the one before."""
        if not self._terminal:
            if words != self._last:
                self.say(words)
            self._last = words
            return
        done = stored.stored_frames + stored.quarantined_frames
        if self._task is None:
            self._task = self._progress.add_task(words, total=documents.planned_frames)
        self._progress.update(self._task, description=words, completed=done)
