"""What was read of objects that never change: kept by key and ETag, so that it is read once.

S3 stays the only state. A fact is used only for the ETag that S3 has just named, in a LIST or by
HEAD; what another process wrote, purged or made anew therefore never counts as known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from simcloud.telemetry import metrics
from simcloud_uploader.metrics import FACT_BYTES, FACTS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FactKey:
    """What a fact is of."""

    kind: type[object]
    """Of its value; of one object more than one thing may be known."""
    bucket: str
    key: str
    etag: str
    """Quotes included."""


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """Something that was read."""

    value: T
    etag: str
    """Of the object that was read, which may be a newer one than the one asked for."""
    size_bytes: int
    """Memory that keeping it takes, about."""


class Facts:
    """The facts used last, as many as fit.

    Args:
        max_bytes: memory for them, about; 0: each is read again.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[FactKey, Fact[object]] = OrderedDict()
        self._size = 0

    @property
    def size_bytes(self) -> int:
        """Memory in use, about."""
        return self._size

    async def of(
        self, kind: type[T], where: tuple[str, str, str], read: Callable[[], Awaitable[Fact[T]]]
    ) -> T:
        """A fact, known or read.

        Args:
            kind: of the value.
            where: bucket, key and the ETag that S3 names now.
            read: reads it.

        Raises:
            Exception: what ``read`` raises; nothing is kept then.
        """
        bucket, key, etag = where
        wanted = FactKey(kind, bucket, key, etag)
        known = self._kept.get(wanted)
        if known is not None:
            self._kept.move_to_end(wanted)
            metrics.counter(FACTS).labels("known").inc()
            return cast("T", known.value)
        fact = await read()
        metrics.counter(FACTS).labels("read").inc()
        self._keep(FactKey(kind, bucket, key, fact.etag), cast("Fact[object]", fact))
        return fact.value

    def _keep(self, key: FactKey, fact: Fact[object]) -> None:
        if fact.size_bytes > self._max_bytes:
            return
        # two calls may have read it at once
        before = self._kept.pop(key, None)
        change = fact.size_bytes - (before.size_bytes if before is not None else 0)
        self._kept[key] = fact
        while self._size + change > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            change -= dropped.size_bytes
            metrics.counter(FACTS).labels("dropped").inc()
        self._size += change
        metrics.gauge(FACT_BYTES).inc(change)
