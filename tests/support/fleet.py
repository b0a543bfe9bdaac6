"""Several targets on loopback that answer as a test tells them, and a router in front of them.

Each is a real HTTP server, small enough that thousands of requests cost little: one protocol, no
framework.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from math import sqrt
from pathlib import Path
from random import Random
from typing import TypeVar

from simcloud.clock import SYSTEM_CLOCK
from simcloud.errors import SimcloudError
from simcloud_inference_router.build import open_router
from simcloud_inference_router.catalog import Catalog
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.router import Call, Picture, Router
from simcloud_inference_router.settings import RouterSettings
from simcloud_inference_router.statistics import CallTrace, ModelCounts
from simcloud_inference_router.targets.base import Invocation, TargetAnswer
from support.clock import VirtualTime

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
NO_DETECTIONS = b'{"detections":[]}'

T = TypeVar("T")

MANY = 2000
"""Requests that a behaviour is counted over."""

BUSY = {"limiter": {"start": 64, "maximum": 64}}
"""Settings with limits that no test reaches."""


def four_sigma(share: float, of: int) -> float:
    """How far a count of independent draws is from ``share * of``, but for once in 16,000 times."""
    return 4 * sqrt(of * share * (1 - share))


def within_4_sigma(found: int, share: float, of: int) -> bool:
    """Whether a count is what independent draws give, but for once in 16,000 times."""
    return abs(found - share * of) <= four_sigma(share, of)


@dataclass(frozen=True, slots=True)
class Step:
    """One answer."""

    status: int = 200
    body: bytes = NO_DETECTIONS
    delay_s: float = 0.0
    """Time that the model takes."""
    hold: bool = False
    """Answered when ``Member.release`` is called."""
    hang_up: bool = False
    """The connection is closed in place of an answer."""


OK = Step()


class Member:
    """One target."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.seen = 0
        """Requests that came."""
        self.headers: list[bytes] = []
        """Of the requests, when ``keep_headers``."""
        self.keep_headers = False
        self.in_flight = 0
        self.peak = 0
        self.disconnected = 0
        """Requests whose client went away before the answer."""
        self.step: Step | Callable[[int], Step] = OK
        """What it answers, or what makes that from the request's number, from 0."""
        self.virtual: VirtualTime | None = None
        """Time in which it delays its answers; None: the loop's."""
        self._held: list[_Connection] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def release(self) -> None:
        """Answers all that are held."""
        held, self._held = self._held, []
        for connection in held:
            connection.answer()

    def hold(self, connection: _Connection) -> None:
        """Keeps a request until ``release``."""
        self._held.append(connection)

    def next_step(self) -> Step:
        """What the request that has just come gets."""
        number, self.seen = self.seen, self.seen + 1
        return self.step if isinstance(self.step, Step) else self.step(number)


class _Connection(asyncio.Protocol):
    def __init__(self, member: Member) -> None:
        self._member = member
        self._buffer = b""
        self._step: Step | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return
        self._buffer = b""
        member = self._member
        if member.keep_headers:
            member.headers.append(head)
        member.in_flight += 1
        member.peak = max(member.peak, member.in_flight)
        step = self._step = member.next_step()
        if step.hold:
            member.hold(self)
        elif step.delay_s:
            if member.virtual is not None:
                member.virtual.call_later(step.delay_s, self.answer)
                return
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(step.delay_s, self.answer)
        else:
            self.answer()

    def answer(self) -> None:
        step, transport = self._step, self._transport
        if step is None or transport is None:
            return
        self._ended()
        if step.hang_up:
            transport.close()
            return
        transport.write(
            b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (step.status, len(step.body), step.body)
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if self._step is not None:
            self._member.disconnected += 1
            self._ended()
        if self._timer is not None:
            self._timer.cancel()

    def _ended(self) -> None:
        self._step = None
        self._member.in_flight -= 1


@dataclass(slots=True)
class Outcomes:
    """What became of many requests."""

    answered: int = 0
    failed: list[SimcloudError] = field(default_factory=list)
    targets: dict[str, int] = field(default_factory=dict)
    """Answers by target."""

    @property
    def ended(self) -> int:
        """Requests that have an answer or an error."""
        return self.answered + len(self.failed)


class Fleet:
    """Members, and a router whose model ``det`` they serve."""

    def __init__(
        self,
        members: Mapping[str, Member],
        router: Router,
        seed: int,
        virtual: VirtualTime | None = None,
    ) -> None:
        self.members = members
        self.router = router
        self.virtual = virtual
        self.random = Random(seed)
        self.model: RoutedModel = router.models["det"]

    def __getitem__(self, name: str) -> Member:
        """A member by name."""
        return self.members[name]

    @property
    def counts(self) -> ModelCounts:
        """What the router counted."""
        return self.router.models["det"].counts

    async def ask(
        self,
        *,
        request_id: str = "id",
        caller: str = "",
        within_s: float | None = 30.0,
        patient: bool = True,
        trace: CallTrace | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> TargetAnswer:
        """One request, as a stream's frame unless it is not ``patient``."""
        deadline = None if within_s is None else self.router.clock.monotonic() + within_s
        call = Call(caller=caller, deadline=deadline, patient=patient)
        picture = Picture(request_id, b"picture", "image/png", "", parameters or {})
        return await self.router.infer_picture(
            self.model, picture, call, CallTrace() if trace is None else trace
        )

    async def ask_many(
        self,
        number: int,
        *,
        at_once: int = 16,
        parameters: Callable[[int], Mapping[str, str]] | None = None,
        outcomes: Outcomes | None = None,
    ) -> Outcomes:
        """Requests, so many at a time; a request's id is its number, from 0.

        Args:
            number: of requests.
            at_once: of them that are asked at a time.
            parameters: of each, by its number.
            outcomes: where they are counted; new ones by default.
        """
        outcomes = Outcomes() if outcomes is None else outcomes
        numbers = iter(range(number))

        async def worker() -> None:
            for each in numbers:
                trace = CallTrace()
                try:
                    await self.ask(
                        request_id=str(each),
                        trace=trace,
                        parameters=None if parameters is None else parameters(each),
                    )
                except SimcloudError as exc:
                    outcomes.failed.append(exc)
                else:
                    outcomes.answered += 1
                    outcomes.targets[trace.target] = outcomes.targets.get(trace.target, 0) + 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(worker())
        return outcomes

    async def ask_many_in_virtual_time(self, number: int, *, at_once: int) -> Outcomes:
        """As ``ask_many`` of a fleet that has its own time."""
        outcomes = Outcomes()
        return await self.in_virtual_time(
            self.ask_many(number, at_once=at_once, outcomes=outcomes),
            under_way=lambda: min(at_once, number - outcomes.ended),
        )

    async def in_virtual_time(
        self, asking: Coroutine[object, object, T], *, under_way: Callable[[], int]
    ) -> T:
        """Runs requests in the fleet's own time: answers come in the order of their delays, each
        when everything that can happen before it has happened.

        Args:
            asking: makes the requests.
            under_way: how many of them have begun, or are about to, and have not ended.
        """
        virtual, door = self.virtual, self.model.door
        assert virtual is not None
        task = asyncio.ensure_future(asking)
        async with asyncio.timeout(90):
            while not task.done():
                at_targets, due = door.in_flight, virtual.waiting
                if due and due == at_targets and at_targets + door.waiting == under_way():
                    virtual.step()
                await asyncio.sleep(0)
        return await task

    async def dispatch(
        self,
        *,
        caller: str = "",
        priority: int = 0,
        within_s: float | None = 30.0,
        patient: bool = True,
        session: str = "",
        session_id: str = "",
    ) -> CallTrace:
        """One request as the dispatcher takes it; what became of it, when it was answered."""
        trace = CallTrace()
        invocation = Invocation(b"x", "image/png", "", session=session, session_id=session_id)
        await self.router._dispatcher.call(
            self.model,
            invocation,
            deadline=None if within_s is None else self.router.clock.monotonic() + within_s,
            patient=patient,
            trace=trace,
            caller=caller,
            priority=priority,
        )
        return trace

    async def ask_in_session(self, key: str, *, session_id: str = "") -> str:
        """One request of a session; the name of the target that answered."""
        return (await self.dispatch(session=key, session_id=session_id)).target

    def assert_idle(self) -> None:
        """No slot is taken, nobody waits."""
        assert (self.model.door.in_flight, self.model.door.waiting) == (0, 0)


@asynccontextmanager
async def fleet(
    targets: Sequence[str] | Mapping[str, Mapping[str, object]],
    *,
    seed: int,
    settings: Mapping[str, object] | None = None,
    virtual: VirtualTime | None = None,
    **traffic: object,
) -> AsyncIterator[Fleet]:
    """A fleet that listens within the block.

    Args:
        targets: names, or names with fields of their catalogue entries.
        seed: of the router's draws; printed, so that a failure can be had again.
        settings: of the router.
        virtual: time of the router and of the members' delays; None: the machine's.
        traffic: fields of the model: `hedge`, `canary` and so on.
    """
    # pytest shows it when the test fails.
    sys.stdout.write(f"seed {seed}\n")
    described = targets if isinstance(targets, Mapping) else {name: {} for name in targets}
    members = {name: Member(name) for name in described}
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for member in members.values():
            server = await loop.create_server(partial(_Connection, member), "127.0.0.1", 0)
            await stack.enter_async_context(server)
            member.port = server.sockets[0].getsockname()[1]
            member.virtual = virtual
        catalog = Catalog.model_validate(
            {
                "models": [
                    {
                        "name": "det",
                        "task": "object_detection",
                        "digest": "0" * 64,
                        "tensor_codec": None,
                        "targets": [
                            {"name": name, "kind": "container", "url": members[name].url, **fields}
                            for name, fields in described.items()
                        ],
                        **traffic,
                    }
                ]
            }
        )
        chosen = RouterSettings.model_validate(
            {"catalog": Path("unused"), "sagemaker": {"access_key_id": "a"}, **(settings or {})}
        )
        router = await stack.enter_async_context(
            open_router(chosen, catalog, random=Random(seed), clock=virtual or SYSTEM_CLOCK)
        )
        yield Fleet(members, router, seed, virtual)
