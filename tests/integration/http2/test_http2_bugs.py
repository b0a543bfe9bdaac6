"""A bug of the server's own: it costs one connection, whose peer is told, and one line."""

from __future__ import annotations

import pytest
import structlog

from simcloud.rpc.http2 import calls
from support.http2_frames import Code, data, headers, message, opens
from support.http2_hpack import literal
from support.http2_peer import ready_peer
from support.http2_probe import probe_site


async def test_a_bug_ends_its_connection_alone_and_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_: object) -> None:
        raise RuntimeError("a bug of the server's")

    monkeypatch.setattr(calls, "check_trailers", fails)
    async with (
        probe_site("http2") as site,
        ready_peer(site.address) as bystander,
        ready_peer(site.address) as peer,
    ):
        with structlog.testing.capture_logs() as lines:
            await peer.send(
                opens(1), data(1, message(b"x")), headers(1, literal(b"a", b"b"), end=True)
            )
            assert await peer.ends() == Code.INTERNAL_ERROR
        assert [each["log_level"] for each in lines] == ["error"]
        await bystander.asks()
        await site.is_settled()
