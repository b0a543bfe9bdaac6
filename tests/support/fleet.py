"""Several targets on loopback that answer as a test tells them, and a router in front of them.

Each is a real HTTP server, small enough that thousands of requests cost little: one protocol, no
framework.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

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
        caller: str = "",
        within_s: float | None = 30.0,
        patient: bool = True,
        trace: CallTrace | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> TargetAnswer:
        """One request, as a stream's frame unless it is not ``patient``."""
        deadline = None if within_s is None else self.router.clock.monotonic() + within_s
        call = Call(caller=caller, deadline=deadline, patient=patient)
        picture = Picture("id", b"picture", "image/png", "", parameters or {})
        return await self.router.infer_picture(
            self.model, picture, call, CallTrace() if trace is None else trace
        )

    async def ask_many(
        self,
        number: int,
        *,
        at_once: int = 16,
        parameters: Callable[[int], Mapping[str, str]] | None = None,
    ) -> Outcomes:
        """Requests, so many at a time."""
        outcomes = Outcomes()
        numbers = iter(range(number))

        async def worker() -> None:
            for each in numbers:
                trace = CallTrace()
                try:
                    await self.ask(
                        trace=trace, parameters=None if parameters is None else parameters(each)
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
        """As ``ask_many`` of a fleet that has its own time: answers come in the order of their
        delays, each when all requests that can be under way have arrived at their targets.
        """
        virtual = self.virtual
        assert virtual is not None
        before = virtual.called
        asking = asyncio.ensure_future(self.ask_many(number, at_once=at_once))
        async with asyncio.timeout(90):
            while not asking.done():
                left = number - (virtual.called - before)
                if left and virtual.waiting == min(at_once, left):
                    virtual.step()
                await asyncio.sleep(0)
        return await asking

    async def ask_in_session(self, key: str, *, session_id: str = "") -> str:
        """One request of a session; the name of the target that answered."""
        trace = CallTrace()
        invocation = Invocation(b"x", "image/png", "", session=key, session_id=session_id)
        await self.router._dispatcher.call(
            self.model,
            invocation,
            deadline=self.router.clock.monotonic() + 30,
            patient=True,
            trace=trace,
        )
        return trace.target

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
