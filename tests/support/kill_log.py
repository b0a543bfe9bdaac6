"""What the services' logs say of rendering and durability, and the rules it must keep.

Facts are the lines that a process wrote before it was killed: a mark counts as promised from the
moment the epoch object was written, even if nobody heard of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import cast

OWNED = "shard owned"
DURABLE = "frames are durable"
BEGUN = "frame begun"
COMMITTED = "shard committed"
BEGINS_AGAIN = "shard begins again"
TAKEN_OVER = "shard taken over"
_EVENTS = frozenset({OWNED, DURABLE, BEGUN, COMMITTED, BEGINS_AGAIN, TAKEN_OVER})


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One line of a log."""

    timestamp: datetime
    """By the one clock of all processes."""
    event: str = field(compare=False)
    source: str = field(compare=False)
    """The process: one life of one replica."""
    run: str = field(compare=False)
    shard: int = field(compare=False)
    epoch: int = field(compare=False, default=0)
    frame: int = field(compare=False, default=0)
    """Begun, to be resumed at, or the end of what is durable."""
    continued: bool = field(compare=False, default=True)


def read_log(path: Path) -> list[Line]:
    """The lines that matter here; one that a kill cut short is none."""
    found = []
    for text in path.read_text(errors="replace").splitlines():
        try:
            row = cast("dict[str, object]", json.loads(text))
        except ValueError:
            continue
        if isinstance(row, dict) and row.get("event") in _EVENTS:
            found.append(_line(row, path.stem))
    return found


def _line(row: dict[str, object], source: str) -> Line:
    frame = next((row[key] for key in ("frame", "resume_frame", "durable_before") if key in row), 0)
    return Line(
        timestamp=datetime.fromisoformat(str(row["timestamp"])),
        event=str(row["event"]),
        source=source,
        run=str(row["run"]),
        shard=cast("int", row["shard"]),
        epoch=cast("int", row.get("epoch", 0)),
        frame=cast("int", frame),
        continued=bool(row.get("continued", True)),
    )


@dataclass(slots=True)
class Tally:
    """What it took."""

    rendered: int = 0
    """Frames begun, the same one counted as often as it was."""
    restarts: int = 0
    """Uploads that S3 lost: the only reason to render what was durable."""
    continued: int = 0
    """Takeovers behind a shard's first frame, by the same replica's next life or by another."""
    continued_by_another: int = 0
    """Those by another replica."""
    in_vain: int = 0
    """Frames that a writer began which had lost its shard and was not told yet."""
    problems: list[str] = field(default_factory=list)


def audit(lines: Iterable[Line], *, first_frames: Sequence[int]) -> Tally:
    """Holds every shard of one run to the rules.

    Args:
        lines: of all processes, in any order.
        first_frames: of each shard.
    """
    tally = Tally()
    by_shard: dict[int, list[Line]] = {}
    for line in sorted(lines):
        by_shard.setdefault(line.shard, []).append(line)
    for shard, of_shard in by_shard.items():
        _Shard(shard, first_frames[shard], tally).follow(of_shard)
    return tally


class _Shard:
    """What is known of one shard while its lines are read in order."""

    def __init__(self, shard: int, first_frame: int, tally: Tally) -> None:
        self._shard = shard
        self._first = first_frame
        self._tally = tally
        self._durable = first_frame
        self._durable_epoch = 0
        self._owner = ""
        self._committed = False
        self._resumed: dict[int, int] = {}
        """Resume frame by epoch."""
        self._known_durable: dict[int, int] = {}
        """What was durable when an epoch began, or was marked in it."""
        self._doomed: set[int] = set()
        """Epochs made after the commit: nothing may be rendered in them."""

    def follow(self, lines: Sequence[Line]) -> None:
        for line in lines:
            match line.event:
                case "shard owned":
                    self._own(line)
                case "frames are durable":
                    self._mark(line)
                case "frame begun":
                    self._begin(line)
                case "shard committed":
                    self._committed = True
                case "shard begins again":
                    self._restart(line)
                case "shard taken over" if not line.continued:
                    self._restart(line)
                case _:
                    pass

    def _own(self, line: Line) -> None:
        if line.frame < self._durable:
            self._problem(line, f"resumes at {line.frame}, durable before {self._durable}")
        if line.frame > self._first and self._owner:
            self._tally.continued += 1
            self._tally.continued_by_another += _replica(line.source) != _replica(self._owner)
        self._owner = line.source
        self._resumed[line.epoch] = line.frame
        self._known_durable[line.epoch] = self._durable
        if self._committed:
            self._doomed.add(line.epoch)

    def _mark(self, line: Line) -> None:
        self._durable = max(self._durable, line.frame)
        self._known_durable[line.epoch] = max(self._known_durable.get(line.epoch, 0), line.frame)

    def _begin(self, line: Line) -> None:
        self._tally.rendered += 1
        if line.epoch not in self._resumed:
            self._problem(line, f"frame {line.frame} in an epoch that nobody owned")
        elif line.epoch in self._doomed:
            self._problem(line, f"frame {line.frame} of a shard that was committed before")
        elif line.frame < self._known_durable[line.epoch]:
            known = self._known_durable[line.epoch]
            self._problem(line, f"frame {line.frame} again, durable before {known}")
        elif line.frame < self._durable or self._committed:
            self._tally.in_vain += 1

    def _restart(self, line: Line) -> None:
        self._tally.restarts += 1
        self._durable = self._first
        self._known_durable = dict.fromkeys(self._known_durable, self._first)

    def _problem(self, line: Line, words: str) -> None:
        self._tally.problems.append(
            f"{line.timestamp} {line.source}: shard {self._shard}, epoch {line.epoch}: {words}"
        )


def _replica(source: str) -> str:
    """Whose life a process was."""
    return source.rpartition(".")[0]
