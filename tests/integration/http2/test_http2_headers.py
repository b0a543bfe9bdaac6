"""Header blocks: HPACK (RFC 7541) and what RFC 9113 section 8 asks of the fields of a request."""

from __future__ import annotations

import pytest

from support.http2_cases import BLOCK, BODY, PROTOCOL, Case, cases, comes_out
from support.http2_frames import (
    Code,
    Setting,
    continuation,
    data,
    fields,
    headers,
    message,
    opens,
    settings,
)
from support.http2_hpack import (
    EOS,
    STATIC,
    Field,
    block,
    huffman,
    indexed,
    integer,
    literal,
    string,
    table_size,
)
from support.http2_peer import Peer, ready_peer
from support.http2_probe import Site, only_ours

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("nothing_is_left"),
]

COMPRESSION = (Code.COMPRESSION_ERROR,)
AFTER_STATIC = len(STATIC) + 1


def asks(encoded: bytes) -> tuple[bytes, ...]:
    return (headers(1, encoded), BODY)


def spoiled(what: str, more: bytes, *, strict: bool = False) -> Case:
    return Case("RFC 7541", what, asks(BLOCK + more), "connection", COMPRESSION, strict)


def with_fields(section: str, what: str, *own: Field, strict: bool = True) -> Case:
    return Case(section, what, asks(block(own)), "refused", strict=strict)


def without(name: bytes) -> list[Field]:
    return [each for each in fields() if each[0] != name]


def replaced(name: bytes, value: bytes) -> list[Field]:
    return [(key, value if key == name else old) for key, old in fields()]


BY_INDEX = (
    indexed(3)  # :method: POST
    + indexed(6)  # :scheme: http
    + literal(4, b"/probe.Probe/Echo", how="kept")
    + literal(1, b"probe", how="kept")
    + literal(b"te", b"trailers", how="kept")
    + literal(31, b"application/grpc", how="kept")
)

TABLES = [
    Case("RFC 7541 6.1", "indexed fields", asks(BY_INDEX), "served"),
    *(
        Case(f"RFC 7541 6.2.{number}", f"{how}{' in Huffman code' * coded}", asks(made), "served")
        for number, how in ((1, "kept"), (2, "plain"), (3, "never"))
        for coded in (False, True)
        for made in [block(fields(), how=how, coded=coded)]  # type: ignore[arg-type]
    ),
    Case(
        "RFC 7541 2.3.3",
        "what was kept is referred to",
        asks(BLOCK + literal(b"x-a", b"1", how="kept") + indexed(AFTER_STATIC)),
        "served",
    ),
    Case(
        "RFC 7541 4.3",
        "a table of no size",
        asks(table_size(0) + block(fields(), how="kept")),
        "served",
    ),
    Case(
        "RFC 7541 4.3",
        "a table made empty and large again",
        asks(table_size(0) + table_size(4096) + BY_INDEX),
        "served",
    ),
    Case(
        "RFC 7541 4.4",
        "a field larger than the table empties it",
        asks(BLOCK + literal(b"x-a", bytes(range(97, 123)) * 200, how="kept")),
        "served",
    ),
    spoiled("index 0", b"\x80"),
    spoiled("an index beyond the tables", indexed(AFTER_STATIC)),
    spoiled("an index far beyond", indexed(1 << 30)),
    spoiled("a literal's name beyond the tables", literal(AFTER_STATIC, b"")),
    spoiled(
        "an index of what was evicted",
        literal(b"x-a", b"1", how="kept")
        + literal(b"x-b", b"2" * 4050, how="kept")
        + indexed(AFTER_STATIC + 1),
    ),
    spoiled(
        "an index of what was too large to be kept",
        literal(b"x-b", b"2" * 4096, how="kept") + indexed(AFTER_STATIC),
    ),
    spoiled("a table's size after a field", table_size(0), strict=True),
    Case(
        "RFC 7541 6.3",
        "a table larger than was allowed",
        asks(table_size(1 << 20) + BLOCK),
        "connection",
        COMPRESSION,
    ),
    spoiled("a string longer than its block", b"\x00" + integer(9, 7) + b"short"),
    spoiled("a block that ends within an integer", b"\xff\x80"),
    spoiled("a block that ends after a name", b"\x00" + string(b"x-a")),
    spoiled("an integer that never ends", b"\xff" + b"\x80" * 100 + b"\x01"),
    spoiled("an integer of 2^70", b"\x7f" + b"\xff" * 10 + b"\x01"),
    spoiled(
        "Huffman code padded by more than 7 bits",
        b"\x00" + string(b"x-a") + integer(2, 7, 0x80) + huffman(b"a", padding="1" * 11),
        strict=True,
    ),
    spoiled(
        "Huffman code padded by zeros",
        b"\x00" + string(b"x-a") + integer(1, 7, 0x80) + huffman(b"a", padding="000"),
    ),
    spoiled(
        "EOS in Huffman code",
        b"\x00" + string(b"x-a") + integer(5, 7, 0x80) + huffman((97, EOS), padding="11111"),
        strict=True,
    ),
]

FIELDS = [
    with_fields("8.2.1", "an upper-case name", *fields(), (b"X-Upper", b"1"), strict=False),
    *(
        with_fields("8.2.1", f"{name!r} in a name", *fields(), (b"x-" + name, b"1"), strict=False)
        for name in (b"\x00", b" ", b"\x7f", b"\xe4", b":", b"\n")
    ),
    with_fields("8.2.1", "an empty name", *fields(), (b"", b"1"), strict=False),
    *(
        with_fields("8.2.1", f"{value!r} in a value", *fields(), (b"x-a", b"1" + value + b"2"))
        for value in (b"\x00", b"\n", b"\r")
    ),
    *(
        with_fields("8.2.2", f"{name.decode()}, which is of a connection", *fields(), (name, b"1"))
        for name in (
            *(b"connection", b"keep-alive", b"proxy-connection"),
            *(b"transfer-encoding", b"upgrade"),
        )
    ),
    with_fields("8.2.2", "te but trailers", *replaced(b"te", b"gzip"), strict=False),
    with_fields("8.3", "an unknown pseudo-header", (b":what", b"1"), *fields(), strict=False),
    with_fields("8.3", "a response's pseudo-header", (b":status", b"200"), *fields()),
    with_fields(
        "8.3",
        "a pseudo-header after a field",
        *without(b":path"),
        (b":path", b"/a/b"),
        strict=False,
    ),
    *(
        with_fields("8.3.1", f"no {name.decode()}", *without(name))
        for name in (b":method", b":scheme", b":path")
    ),
    *(
        with_fields("8.3.1", f"two of {name.decode()}", (name, value), *fields())
        for name, value in fields()[:3]
    ),
    with_fields("8.3.1", "an empty :path", *replaced(b":path", b""), strict=False),
    *(
        Case(
            "8.1.1",
            f"a content-length of {size.decode()} for 6 octets",
            asks(BLOCK + literal(b"content-length", size)),
            "refused",
            strict=True,
        )
        for size in (b"5", b"7", b"-6", b"six")
    ),
    Case(
        "8.1.1",
        "a content-length that is right",
        asks(BLOCK + literal(b"content-length", b"6")),
        "served",
    ),
    Case(
        "8.1",
        "trailers of a client",
        (
            opens(1),
            data(1, message(b"x")),
            headers(1, literal(b"x-checksum", b"1"), end=True),
        ),
        "served",
    ),
    Case(
        "8.1",
        "HEADERS in the middle that do not end",
        (opens(1), data(1, message(b"x")), headers(1, literal(b"x-a", b"1"))),
        "stream",
        PROTOCOL,
        strict=True,
    ),
    Case(
        "8.3",
        "a pseudo-header in trailers",
        (opens(1), data(1, b""), headers(1, literal(b":method", b"POST"), end=True)),
        "stream",
        PROTOCOL,
        strict=True,
    ),
    Case(
        "8.2.3",
        "cookies apart",
        asks(BLOCK + literal(b"cookie", b"a=1") + literal(b"cookie", b"b=2")),
        "served",
    ),
]


@cases(TABLES)
async def test_a_block_is_read_or_ends_the_connection(
    site: Site, bystander: Peer, case: Case
) -> None:
    async with ready_peer(site.address) as peer:
        await comes_out(site, case, peer)
    await bystander.asks()


@cases(FIELDS)
async def test_a_request_whose_fields_are_wrong_reaches_no_method(
    site: Site, bystander: Peer, case: Case
) -> None:
    async with ready_peer(site.address) as peer:
        await comes_out(site, case, peer)
    await bystander.asks()


async def test_a_block_may_be_cut_anywhere(site: Site) -> None:
    made = block(fields(), how="kept", coded=True)
    async with ready_peer(site.address) as peer:
        for at in range(len(made) + 1):
            stream = peer.next_stream()
            await peer.send(
                headers(stream, made[:at], end_headers=False),
                continuation(stream, made[at:]),
                data(stream, message(b"%d" % at), end=True),
            )
        for at in range(len(made) + 1):
            answer = await peer.answer(2 * at + 1)
            assert (answer.grpc_status, answer.messages) == (0, [b"%d" % at])


async def test_a_block_of_a_few_octets_a_frame_is_read(site: Site) -> None:
    made = block(fields())
    async with ready_peer(site.address) as peer:
        await peer.send(
            headers(1, made[:1], end_headers=False),
            *(
                continuation(1, made[at : at + 8], end_headers=False)
                for at in range(1, len(made), 8)
            ),
            continuation(1, b""),
            BODY,
        )
        assert (await peer.answer(1)).messages == [b"x"]


async def test_the_table_lasts_over_requests_and_changes_of_its_size(site: Site) -> None:
    async with ready_peer(site.address) as peer:
        # The last that was kept comes first: content-type, te, :authority, :path.
        again = indexed(3) + indexed(6) + b"".join(indexed(AFTER_STATIC + 3 - i) for i in range(4))
        for encoded in (BY_INDEX, again, again, table_size(0) + BLOCK, table_size(4096) + BY_INDEX):
            stream = peer.next_stream()
            await peer.send(headers(stream, encoded), data(stream, message(b"y"), end=True))
            assert (await peer.answer(stream)).messages == [b"y"]
        # Reset before they are served, they have kept their fields nonetheless.
        kept = literal(b"x-kept", b"1", how="kept")
        stream, after = peer.next_stream(), peer.next_stream()
        await peer.send(
            headers(stream, BLOCK + kept, end=True),
            headers(after, BLOCK + indexed(AFTER_STATIC)),
            data(after, message(b"z"), end=True),
        )
        assert (await peer.answer(after)).messages == [b"z"]


@pytest.mark.parametrize("spoiled", [b"", literal(b":path", b"/")], ids=["whole", "malformed"])
async def test_trailers_change_the_table_for_the_requests_after_them(
    site: Site, spoiled: bytes
) -> None:
    """The same block means another's metadata then, however often it was seen before."""
    reflect = block(fields(b"/probe.Probe/Reflect"))
    first = reflect + literal(b"x-user", b"alice", how="kept")
    again = reflect + indexed(AFTER_STATIC)
    after = literal(b"x-user", b"bob", how="kept") + spoiled
    async with ready_peer(site.address) as peer:
        for encoded, user in ((first, b"alice"), (again, b"alice"), (again, b"alice")):
            stream = peer.next_stream()
            await peer.send(headers(stream, encoded), data(stream, message(b""), end=True))
            assert (await peer.answer(stream)).value(b"x-user") == user
        stream, last = peer.next_stream(), peer.next_stream()
        await peer.send(
            opens(stream),
            data(stream, message(b"x")),
            headers(stream, after, end=True),
            headers(last, again),
            data(last, message(b""), end=True),
        )
        assert (await peer.answer(last)).value(b"x-user") == b"bob"


async def test_what_a_server_keeps_fits_into_the_table_that_its_client_allows(site: Site) -> None:
    """RFC 7541 section 4.2: an encoder stays within the limit, and says so when it falls."""
    asks_for = (b"x-a", b"1")
    async with ready_peer(site.address) as peer:
        for size in (4096, 0, 100, 4096):
            await peer.send(settings({Setting.HEADER_TABLE_SIZE: size}))
            await peer.pinged()
            for number in range(5):
                stream = peer.next_stream()
                more = ((b"x-b", b"%d" % number), asks_for)
                await peer.send(
                    opens(stream, b"/probe.Probe/Reflect", *more),
                    data(stream, message(b""), end=True),
                )
                answer = await peer.answer(stream)
                assert answer.grpc_status == 0
                assert asks_for in answer.blocks[0]
                assert peer.table_limit <= size


@only_ours
async def test_a_server_says_how_long_a_list_of_fields_may_be(site: Site) -> None:
    async with ready_peer(site.address) as peer:
        assert 16_384 <= peer.settings[Setting.MAX_HEADER_LIST_SIZE] <= 65_536
