"""A run from its plan to its manifest, without a terminal: plan -> generate -> publish.

Everything is repeatable: the same call again resumes, renders nothing that is stored, and ends by
publishing. Scoring is ``simcloud.scoring.job``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from simcloud.client._wire import RunSummary
from simcloud.client.cost import as_json
from simcloud.client.events import FirstPicture, RunEvent, RunOpened, RunStored, Waiting
from simcloud.client.generation import ShardGivenUp
from simcloud.client.generator import GeneratorClient
from simcloud.client.run_ledger import RunLedger
from simcloud.client.uploader import UploaderClient
from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.dataset.layout import RunLocation
from simcloud.errors import Conflict, InvalidRequest, PreconditionFailed, SimcloudError
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan, ShardFrames

_RPC_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What is to be made."""

    location: RunLocation
    spec: Spec
    """With the scene's digest and the renderer resolved."""
    plan: Plan
    shards: frozenset[int] | None = None
    """Numbers of the shards this call answers for; None: all of the plan."""
    allow_mixed_fingerprints: bool = False
    provenance: dict[str, object] = field(default_factory=dict)
    """Who and what creates it; kept in spec.json and in the manifest."""
    preview: bool = True
    """Whether the first picture is rendered ahead, to be looked at; it costs one frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPatience:
    """How long trouble is waited for."""

    attempts: int = 6
    """Failures in a row, without a shard stored between them, after which it is given up."""
    pause_s: float = 1.0
    """First pause after a failure; doubled each time, at most ``longest_pause_s``."""
    longest_pause_s: float = 30.0
    others_poll_s: float = 5.0
    """Between looks at shards that another driver owns; the uploader lets us take one over when its
    owner has been silent for its ``stale_after``."""
    others_for_s: float = 3600.0
    """How long shards of others may take without any of them being stored."""


class RunDriver:
    """Drives one run; one call of ``generate`` a driver.

    Args:
        generator: renders.
        uploader: stores; also where the run's state is asked.
        request: what is to be made.
        uploader_target: the uploader as the generator reaches it; empty: its own setting.
        patience: how long trouble is waited for.
        clock: for the cost figures.
    """

    def __init__(
        self,
        *,
        generator: GeneratorClient,
        uploader: UploaderClient,
        request: RunRequest,
        uploader_target: str = "",
        patience: RunPatience | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._generator = generator
        self._uploader = uploader
        self._request = request
        self._uploader_target = uploader_target
        self._patience = patience or RunPatience()
        self._clock = clock
        # What follows is the driver's state.
        self._ledger = RunLedger()
        self._failures = 0

    async def generate(self) -> AsyncGenerator[RunEvent]:
        """Creates or resumes the run, stores its shards, publishes it; ``RunStored`` is last.

        Closing the iterator stops at the next frame boundary; what is durable stays, and the same
        call resumes.

        Raises:
            AlreadyExists: another spec is stored under this name.
            PreconditionFailed: the plan is no growth of the stored one, the run is aborted, or the
                generator can't honour the renderer.
            NotReady: a service was out of reach for longer than the patience.
        """
        ledger = self._ledger
        opened = await self._create()
        yield opened
        description = await self._generator.describe()
        ledger.cost.workers = description.workers
        if ledger.open and self._request.preview and not opened.committed:
            first = min(shard.first for shard in ledger.open.values())
            yield await self._first_picture(first)
        begun = self._clock.monotonic()
        async for event in self._store_all(description.max_frames_per_call):
            yield event
        ledger.cost.wall_s = self._clock.monotonic() - begun if ledger.cost.rendered else 0.0
        yield await self._publish()

    async def _create(self) -> RunOpened:
        request = self._request
        created = await self._uploader.create_run(
            request.location,
            spec=request.spec,
            plan=request.plan,
            provenance_json=_json(request.provenance),
            timeout_s=_RPC_TIMEOUT_S,
        )
        numbers = request.shards
        mine = tuple(item for item in created.shards if numbers is None or item.shard in numbers)
        if numbers is not None and len(mine) < len(numbers):
            raise InvalidRequest(
                "shards",
                f"the run has shards 0 to {len(created.shards) - 1}; asked for "
                f"{sorted(numbers - {item.shard for item in mine})[:5]} too",
            )
        cameras = len(request.spec.cameras)
        self._ledger.open = {
            item.shard: item for item in mine if item.shard not in created.committed
        }
        planned = sum(len(item) for item in mine)
        remaining = sum(len(item) for item in self._ledger.open.values())
        return RunOpened(
            spec_digest=digest(canonical_json(request.spec)),
            created=created.created,
            plan_generation=created.plan_generation,
            planned_frames=planned * cameras,
            stored_frames=(planned - remaining) * cameras,
            shards=mine,
            committed=frozenset(item.shard for item in mine) & created.committed,
        )

    async def _first_picture(self, frame: int) -> FirstPicture:
        location = self._request.location
        frames = await self._generator.preview(
            self._request.spec, bucket=location.bucket, prefix=location.prefix, frame=frame
        )
        return FirstPicture(frames=tuple(frames))

    async def _store_all(self, max_frames: int) -> AsyncGenerator[RunEvent]:
        """Calls Generate until every shard is stored, lost, or out of patience."""
        ledger = self._ledger
        others_until = self._clock.monotonic() + self._patience.others_for_s
        while ledger.open:
            mine = [item for number, item in ledger.open.items() if number not in ledger.foreign]
            batch = list(_batch(mine or list(ledger.open.values()), max_frames))
            stored_before = len(ledger.open)
            pause = 0.0
            try:
                async with aclosing(self._call(batch)) as events:
                    async for event in events:
                        yield event
            except SimcloudError as error:
                if len(ledger.open) < stored_before:
                    self._failures = 0
                pause = self._after_failure(error)
                yield Waiting(reason=error.message, seconds=pause)
            if len(ledger.open) < stored_before:
                self._failures = 0
                others_until = self._clock.monotonic() + self._patience.others_for_s
            if ledger.open and ledger.foreign >= ledger.open.keys():
                async for event in self._wait_for_others(others_until):
                    yield event
            elif pause:
                await asyncio.sleep(pause)

    async def _call(self, batch: Sequence[ShardFrames]) -> AsyncGenerator[RunEvent]:
        """One Generate call."""
        request = self._request
        retry: ShardGivenUp | None = None
        self._ledger.cost.begin_call()
        events = self._generator.generate(
            request.spec,
            request.location,
            batch,
            allow_mixed_fingerprints=request.allow_mixed_fingerprints,
            uploader_target=self._uploader_target,
        )
        async with aclosing(events):
            async for event in events:
                if isinstance(event, ShardGivenUp):
                    outcome = self._ledger.given_up(event)
                    if outcome is not None:
                        yield outcome
                    elif event.retryable and not event.owned_by_another:
                        retry = event
                elif (told := self._ledger.told(event)) is not None:
                    yield told
        if retry is not None:
            raise _Again(f"shard {retry.frames.shard}: {retry.message}")

    def _after_failure(self, error: SimcloudError) -> float:
        """Seconds to wait before the next call, or the error again when it is no use."""
        if isinstance(error, Conflict):
            self._ledger.foreign.update(self._ledger.open)
            return 0.0
        self._failures += 1
        if not error.retryable or self._failures >= self._patience.attempts:
            raise error
        asked = getattr(error, "retry_after_s", None) or 0.0
        pause = self._patience.pause_s * 2.0 ** (self._failures - 1)
        return max(asked, min(pause, self._patience.longest_pause_s))

    async def _wait_for_others(self, until: float) -> AsyncGenerator[RunEvent]:
        """Waits for a while, then looks which shards of other drivers are stored by now."""
        ledger = self._ledger
        if self._clock.monotonic() >= until:
            for lost in ledger.give_up_foreign():
                yield lost
            return
        numbers = sorted(ledger.foreign)
        reason = f"another driver is at shards {', '.join(map(str, numbers[:8]))}"
        yield Waiting(reason=reason, seconds=self._patience.others_poll_s)
        await asyncio.sleep(self._patience.others_poll_s)
        run = await self._uploader.get_run(self._request.location, timeout_s=_RPC_TIMEOUT_S)
        missing = {item.shard for item in run.summary.missing}
        if len(missing) < 1000:  # the answer lists at most 1000 of them
            ledger.foreign_stored(number for number in numbers if number not in missing)

    async def _publish(self) -> RunStored:
        ledger = self._ledger
        location = self._request.location
        lost = tuple(ledger.lost[number] for number in sorted(ledger.lost))
        cost = ledger.cost.total()
        summary: RunSummary
        try:
            published = await self._uploader.publish_run(
                location,
                provenance_json=_json({**self._request.provenance, "generation": as_json(cost)}),
                timeout_s=_RPC_TIMEOUT_S,
            )
            return RunStored(summary=published.summary, published=True, lost=lost, cost=cost)
        except PreconditionFailed:
            run = await self._uploader.get_run(location, timeout_s=_RPC_TIMEOUT_S)
            summary = run.summary
            # Missing are shards of other workers, or our own that were lost: the answer has both.
            if not summary.missing:
                raise
        return RunStored(summary=summary, published=False, lost=lost, cost=cost)


class _Again(SimcloudError):
    """A shard failed in a way that another call may mend."""

    reason = "SHARD_FAILED"
    retryable = True


def _batch(shards: Sequence[ShardFrames], max_frames: int) -> Iterator[ShardFrames]:
    """The first of the shards, as many as one call takes; one at least."""
    frames = 0
    for position, shard in enumerate(shards):
        frames += len(shard)
        if position and frames > max_frames:
            return
        yield shard


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
