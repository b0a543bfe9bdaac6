"""Named faults of S3, for tests: errors before, lost answers after, delays, broken transfers.

One plan for two places: a decorator over the raw client (``inject``), and the tests' HTTP proxy in
front of the server, which can also do what only happens on the wire (``WIRE_KINDS``). Neither is a
patch: what isn't hit by a fault reaches the real server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, cast

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from simcloud.errors import InvalidRequest
from simcloud.s3.client import S3Client


class FaultKind(StrEnum):
    """Where a fault strikes."""

    REFUSED = "refused"
    """The server answers with an error and has done nothing."""
    UNREACHABLE = "unreachable"
    """The connection fails; nothing was done."""
    LOST_ANSWER = "lost_answer"
    """It was done, then the connection broke: the caller sees a read time-out."""
    FAILED_AFTER = "failed_after"
    """It was done, yet the answer is an error (S3's 200 with an error body, or a late 500)."""
    GATE = "gate"
    """The call waits before it is sent until ``Fault.gate`` is set."""
    GATE_WITHIN = "gate_within"
    """The server has all of it, and does it once ``Fault.gate`` is set, whoever waits for it."""
    GATE_AFTER = "gate_after"
    """It was done; the answer waits until ``Fault.gate`` is set."""
    CUT = "cut"
    """The connection is reset when half of the body has gone to the server."""
    DAMAGED = "damaged"
    """A byte of the body is another when it reaches the server."""
    THROTTLED = "throttled"
    """The body goes through at ``Fault.bytes_per_s``."""
    SHORT_PAGES = "short_pages"
    """A listing's page holds one row, and says that there is more."""
    HALF_ANSWER = "half_answer"
    """It was done; the answer's body ends in its middle, as if that were all of it."""


WIRE_KINDS = frozenset(
    {
        FaultKind.GATE_WITHIN,
        FaultKind.CUT,
        FaultKind.DAMAGED,
        FaultKind.THROTTLED,
        FaultKind.SHORT_PAGES,
        FaultKind.HALF_ANSWER,
    }
)
"""What only a proxy can do."""


@dataclass(slots=True)
class Fault:
    """One fault: which calls it hits, how, and how often."""

    operation: str
    """Method of the client, for example ``complete_multipart_upload``; a pattern as in fnmatch."""
    kind: FaultKind = FaultKind.REFUSED
    key: str = "*"
    """Pattern of the key (prefix for listings)."""
    code: str = "SlowDown"
    """S3's error code, for REFUSED and FAILED_AFTER."""
    status: int = 503
    """HTTP status of it."""
    times: int = 1
    """How many calls it hits; then it is spent."""
    after: int = 0
    """How many matching calls pass unharmed before."""
    bytes_per_s: int = 1 << 20
    """Of THROTTLED."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """What a gated call waits for."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the fault strikes for the first time."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server has all of a call that it is to hold."""
    done: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it has done that call, or one whose answer waits."""
    hits: int = 0
    """How often it struck."""
    seen: int = 0
    """How many matching calls there were."""

    def strikes(self, operation: str, key: str) -> bool:
        """Counts a call, and says whether this fault hits it."""
        if not (fnmatchcase(operation, self.operation) and fnmatchcase(key, self.key)):
            return False
        self.seen += 1
        if self.seen <= self.after or self.hits >= self.times:
            return False
        self.hits += 1
        self.reached.set()
        return True


@dataclass(slots=True)
class FaultPlan:
    """Faults in the order in which they are tried; the first that strikes decides."""

    faults: list[Fault] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Every call made through the plan: operation and key."""

    def add(self, fault: Fault) -> Fault:
        """Adds a fault and returns it."""
        self.faults.append(fault)
        return fault

    def count(self, operation: str, key: str = "*") -> int:
        """How many calls of an operation there were."""
        return sum(
            fnmatchcase(made, operation) and fnmatchcase(its_key, key)
            for made, its_key in self.calls
        )

    def unspent(self) -> list[Fault]:
        """Faults that struck less often than they were to: a test that leaves any shows nothing."""
        return [fault for fault in self.faults if fault.hits < fault.times]

    def strike(self, operation: str, key: str) -> Fault | None:
        """The fault that hits a call, if any."""
        self.calls.append((operation, key))
        for fault in self.faults:
            if fault.strikes(operation, key):
                return fault
        return None


def inject(client: S3Client, plan: FaultPlan) -> S3Client:
    """The client with a plan of faults around it; to be given to ``open_store`` as ``wrap``."""
    return cast("S3Client", _FaultyClient(client, plan))


def plan_of(*faults: Fault) -> FaultPlan:
    """A plan of these faults."""
    return FaultPlan(faults=list(faults))


def wrapping(plan: FaultPlan) -> Callable[[S3Client], S3Client]:
    """``inject`` with the plan bound: ``open_store(settings, wrap=wrapping(plan))``."""
    return lambda client: inject(client, plan)


class _FaultyClient:
    """Passes every operation on, through the plan."""

    def __init__(self, client: S3Client, plan: FaultPlan) -> None:
        self._client = client
        self._plan = plan

    def __getattr__(self, name: str) -> object:
        target = getattr(self._client, name)
        if not callable(target):
            return target
        method = cast("Callable[..., Awaitable[object]]", target)

        async def call(**arguments: Any) -> object:
            key = str(arguments.get("Key", arguments.get("Prefix", "")))
            fault = self._plan.strike(name, key)
            if fault is None:
                return await method(**arguments)
            return await _suffer(fault, name, lambda: method(**arguments))

        return call


async def _suffer(fault: Fault, name: str, call: Callable[[], Awaitable[object]]) -> object:
    match fault.kind:
        case FaultKind.REFUSED:
            raise _error(fault, name)
        case FaultKind.UNREACHABLE:
            raise EndpointConnectionError(endpoint_url="injected")
        case FaultKind.LOST_ANSWER:
            await call()
            raise ReadTimeoutError(endpoint_url="injected")
        case FaultKind.FAILED_AFTER:
            await call()
            raise _error(fault, name)
        case FaultKind.GATE:
            await fault.gate.wait()
            return await call()
        case FaultKind.GATE_AFTER:
            answer = await call()
            fault.done.set()
            await fault.gate.wait()
            return answer
        case _:
            raise InvalidRequest("fault.kind", f"{fault.kind} happens on the wire: use the proxy")


def _error(fault: Fault, name: str) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": fault.code, "Message": "injected"},
            "ResponseMetadata": {
                "HTTPStatusCode": fault.status,
                "RequestId": "injected",
                "HostId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        name,
    )
