"""What a run shows while it works: bars on a terminal, lines elsewhere; always standard error."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from simcloud.client.events import (
    FrameMade,
    RunEvent,
    RunOpened,
    RunStored,
    ShardBegun,
    ShardLost,
    ShardStored,
    Waiting,
)
from simcloud.scoring.events import FrameScored, FrameUnscored, ScoreEvent, ScoreOpened
from simcloud_cli.bars import Bars
from simcloud_cli.output import human_bytes


class RunProgress(Bars):
    """Shows the events of a run and of its scoring."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
        )
        self._rendered: TaskID | None = None
        self._scored: TaskID | None = None
        self._cameras = 1

        self.run: str | None = None
        """Name of the run, once it is known to be there."""

    def run_event(self, event: RunEvent) -> None:
        """Shows an event of a generation."""
        match event:
            case RunOpened():
                self._opened(event)
            case ShardBegun():
                self._begun(event)
            case FrameMade():
                self._advance(
                    self._rendered, self._cameras, note=f"{event.timings.render:.1f} s a frame"
                )
                if event.quarantine_reason:
                    self.say(f"frame {event.frame} is quarantined: {event.quarantine_reason}")
            case ShardStored():
                if not event.shard.already_committed:
                    self.say(
                        f"shard {event.shard.frames.shard} is stored: {event.shard.stored_frames} "
                        f"frames, {human_bytes(event.shard.size_bytes)}"
                    )
            case Waiting():
                self.say(f"waiting {event.seconds:.0f} s: {event.reason}")
            case ShardLost():
                self.say(f"shard {event.frames.shard} is given up: {event.message}")
            case RunStored():
                self.say("run is published" if event.published else "run is not complete yet")
            case _:
                pass

    def _opened(self, event: RunOpened) -> None:
        frames = sum(len(shard) for shard in event.shards)
        self._cameras = max(1, event.planned_frames // frames) if frames else 1
        verb = "created" if event.created else "resumed"
        self.say(
            f"run {verb}: {len(event.shards)} shards, {event.planned_frames} frames, "
            f"{event.stored_frames} of them stored"
        )
        self._rendered = self.progress.add_task(
            "render", total=event.planned_frames, completed=event.stored_frames, note=""
        )

    def _begun(self, event: ShardBegun) -> None:
        kept = event.resume_frame - event.frames.first
        if kept > 0:
            self.say(
                f"shard {event.frames.shard} goes on at frame {event.resume_frame}: "
                "what came before is stored"
            )
            self._advance(self._rendered, kept * self._cameras)

    def score_event(self, event: ScoreEvent) -> None:
        """Shows an event of a score job."""
        match event:
            case ScoreOpened():
                self.say(
                    f"scoring {event.frames} frames with {event.model}, "
                    f"{event.scored} of them scored"
                )
                self._scored = self.progress.add_task(
                    "score", total=event.frames, completed=event.scored, note=""
                )
            case FrameScored():
                self._advance(self._scored, 1)
            case FrameUnscored():
                self.say(
                    f"frame {event.key[0]} camera {event.key[1]} was not answered: {event.reason}: "
                    f"{event.message}"
                )
            case _:
                pass

    def _advance(self, task: TaskID | None, steps: int, *, note: str = "") -> None:
        if task is not None:
            self.progress.update(task, advance=steps, note=note)
