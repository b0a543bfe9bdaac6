"""Clients of the uploaders that this generator sends to, one connection a target."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from simcloud.client.uploader import UploaderClient
from simcloud.rpc.channel import connect
from simcloud.rpc.settings import TlsSettings


class Uploaders:
    """Connections by target, made when first needed and closed with this.

    Args:
        default_target: `host:port` for calls that name none.
        tls: certificates for all of them; None: plain text.
    """

    def __init__(self, *, default_target: str, tls: TlsSettings | None) -> None:
        self._default = default_target
        self._tls = tls
        self._clients: dict[str, UploaderClient] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def client(self, target: str) -> UploaderClient:
        """The client of a target; empty: the default one."""
        target = target or self._default
        if target not in self._clients:
            channel = await self._stack.enter_async_context(connect(target, tls=self._tls))
            self._clients[target] = UploaderClient(channel)
        return self._clients[target]
