"""What a servicer hears of its caller: the asking half of ``grpc.aio.ServicerContext``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc.aio

from simcloud.rpc.auth import IDENTITY_KEYS
from simcloud.rpc.http2.stream import Stream
from simcloud.rpc.http2.wire import Metadata


class Caller(Stream, grpc.aio.ServicerContext[Any, Any]):
    """Who calls, and what came with the call."""

    __slots__ = ()

    def invocation_metadata(self) -> Metadata:  # type: ignore[override]  # A tuple, as aio gives.
        """Keys and values; those of keys in ``-bin`` are bytes."""
        return self.head.metadata

    def peer(self) -> str:
        """Where the caller is: ``ipv4:host:port``, ``ipv6:[host]:port`` or ``unix:``."""
        return self.connection.peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """Names of the caller's certificate."""
        key = self.peer_identity_key()
        return None if key is None else self.connection.auth_context[key]

    def peer_identity_key(self) -> str | None:
        """Which property of ``auth_context`` they are."""
        for key in IDENTITY_KEYS:
            if key in self.connection.auth_context:
                return key
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What TLS says of the caller; empty in plain text."""
        return self.connection.auth_context

    def time_remaining(self) -> float | None:  # type: ignore[override]  # None: there is no limit.
        """Seconds until the caller's deadline, 0 when it has passed; None: it set none."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - self.connection.loop.time())
