"""One line that lives while a Job is followed: a bar on a terminal, a line a change elsewhere."""

from __future__ import annotations

from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn

from simcloud.dataset.committed import Collected
from simcloud.dataset.rundoc import RunDocuments
from simcloud_cli.bars import Bars


class LiveLine(Bars):
    """Shows looks at a Job, on standard error."""

    def __init__(self) -> None:
        super().__init__(BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._task: TaskID | None = None
        self._last = ""

    def show(self, words: str, stored: Collected, documents: RunDocuments) -> None:
        """The state of things, in place of the one before."""
        if not self.terminal:
            if words != self._last:
                self.say(words)
            self._last = words
            return
        done = stored.stored_frames + stored.quarantined_frames
        if self._task is None:
            self._task = self.progress.add_task(words, total=documents.planned_frames)
        self.progress.update(self._task, description=words, completed=done)
