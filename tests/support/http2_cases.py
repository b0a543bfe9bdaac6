"""What a client may send on one connection, and what a server has to make of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import pytest

from support.http2_frames import Code, data, fields, message, opens, request
from support.http2_hpack import block
from support.http2_peer import NoAnswer, Peer
from support.http2_probe import PEERS, Site

# What cases are made of: stream 1, whole or in its parts; one that waits for its messages.
BLOCK: Final = block(fields())
BODY: Final = data(1, message(b"x"), end=True)
OPEN: Final = opens(1)
WHOLE: Final = request(1, b"x")
WAITS: Final = opens(1, b"/probe.Probe/Chat")
PROTOCOL: Final = (Code.PROTOCOL_ERROR,)

# Far from the streams that cases name.
_LATER: Final = 1001

Outcome = Literal["served", "ignored", "stream", "connection", "refused"]


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent after SETTINGS were exchanged, and what becomes of it."""

    section: str
    """Of RFC 9113, or of RFC 7541 if it begins with it."""
    what: str
    sends: tuple[bytes, ...]
    outcome: Outcome
    """``served``: stream 1 is answered with its own message; ``ignored``: nothing comes of it;
    ``stream`` and ``connection``: it ends that with an error; ``refused``: stream 1 does not reach
    its method. Whatever does not end the connection leaves it as good as it was."""
    codes: tuple[Code, ...] = ()
    strict: bool = False
    """gRPC's own server does otherwise."""

    def __str__(self) -> str:
        return f"{self.section} {self.what}"


def cases(each: Iterable[Case]) -> pytest.MarkDecorator:
    """Parametrizes a test with ``site`` and ``case``; gRPC's own server has not all of them."""
    return pytest.mark.parametrize(
        ("site", "case"),
        [
            pytest.param(kind, case, id=f"{kind}-{case}")
            for kind in PEERS
            for case in each
            if kind != "grpc" or not case.strict
        ],
        indirect=["site"],
    )


async def comes_out(site: Site, case: Case, peer: Peer) -> None:
    """Sends what the case has and asserts what comes of it."""
    called = site.probe.called
    # Frame by frame would hide what is only found when frames come together, and the other way
    # round: tests of packets are elsewhere.
    await peer.send(*case.sends)
    match case.outcome:
        case "served":
            answer = await peer.answer(1)
            assert (answer.grpc_status, answer.messages) == (0, [b"x"]), answer
        case "ignored":
            await peer.pinged()
        case "stream":
            await _ends_stream(case, peer)
        case "refused":
            await _is_refused(peer)
            assert site.probe.called == called
        case "connection":
            code = await peer.ends()
            # gRPC's own server sometimes closes without a word.
            assert code in case.codes or (code is None and not site.is_ours), code
    if not peer.closed:
        peer.skip_to(_LATER)
        await peer.asks()


async def _ends_stream(case: Case, peer: Peer) -> None:
    # RFC 9113 section 5.4.1: a stream error may be treated as one of the connection.
    answers = peer.answers
    try:
        await peer.until(lambda: any(each.code is not None for each in answers.values()))
    except NoAnswer:
        assert peer.closed
        assert await peer.ends() in case.codes
        return
    assert {each.code for each in answers.values()} - {None} <= set(case.codes)


async def _is_refused(peer: Peer) -> None:
    """Section 8.1.1: a reset, or an answer that says so, or the end of the connection."""
    try:
        answer = await peer.answer(1)
    except NoAnswer:
        assert await peer.ends() == Code.PROTOCOL_ERROR
        return
    if answer.code is not None:
        assert answer.code in {Code.PROTOCOL_ERROR, Code.NO_ERROR}, answer
        return
    assert answer.grpc_status != 0, answer
    assert answer.grpc_status is not None or answer.value(b":status") != b"200", answer
