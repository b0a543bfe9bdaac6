from __future__ import annotations

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from simcloud.errors import (
    Bug,
    Conflict,
    InvalidRequest,
    NotFound,
    NotReady,
    Overloaded,
    PreconditionFailed,
    Violation,
)
from simcloud.rpc.status import (
    DETAILS_KEY,
    MAX_DETAILS_BYTES,
    client_errors,
    error_from_rpc,
    error_from_status,
    grpc_status,
)


def _rpc_error(
    code: grpc.StatusCode, details: str = "", trailers: tuple[tuple[str, bytes], ...] = ()
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), details=details
    )


def test_details_are_those_of_aip_193() -> None:
    status = grpc_status(InvalidRequest("a.b", "is wrong", found="x"))
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "INVALID_REQUEST",
        "simcloud",
        {"found": "x"},
    )
    assert [(each.field, each.description) for each in bad.field_violations] == [
        ("a.b", "is wrong")
    ]


@given(st.text(max_size=4000), st.dictionaries(st.text(max_size=50), st.text(max_size=3000)))
def test_whatever_a_message_holds_it_fits_into_trailers(
    message: str, metadata: dict[str, str]
) -> None:
    error = NotFound(message)
    error.metadata = metadata
    assert grpc_status(error).ByteSize() <= MAX_DETAILS_BYTES


def test_many_violations_end_with_how_many_are_left_out() -> None:
    violations = tuple(
        Violation(kind="SHARD_MISSING", subject=f"shards/{number:06d}", description="not there")
        for number in range(1000)
    )
    status = grpc_status(PreconditionFailed("unfinished", violations=violations))
    assert status.ByteSize() <= MAX_DETAILS_BYTES
    error = error_from_status(status)
    assert isinstance(error, PreconditionFailed)
    *kept, last = error.violations
    assert tuple(kept) == violations[: len(kept)]
    assert last.description == f"{1000 - len(kept)} more are left out"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, NotReady),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.ABORTED, Conflict),
        (grpc.StatusCode.UNKNOWN, Bug),
        (grpc.StatusCode.OUT_OF_RANGE, InvalidRequest),
    ],
)
def test_without_our_details_the_code_decides(code: grpc.StatusCode, kind: type) -> None:
    error = error_from_rpc(_rpc_error(code, "their words"))
    assert type(error) is kind
    assert str(error) == "their words"


def test_every_code_has_a_family() -> None:
    for code in grpc.StatusCode:
        if code not in {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}:
            assert error_from_rpc(_rpc_error(code)).code.value[0] in {
                code.value[0],
                grpc.StatusCode.INTERNAL.value[0],
                grpc.StatusCode.INVALID_ARGUMENT.value[0],
            }


def test_a_reason_of_a_newer_version_becomes_the_codes_family() -> None:
    packed = AnyMessage()
    packed.Pack(
        error_details_pb2.ErrorInfo(
            reason="FROM_THE_FUTURE", domain="simcloud", metadata={"a": "b"}
        )
    )
    error = error_from_status(
        status_pb2.Status(code=grpc.StatusCode.ABORTED.value[0], message="m", details=[packed])
    )
    assert type(error) is Conflict
    assert error.metadata == {"a": "b"}


def test_reasons_of_other_domains_are_not_ours() -> None:
    packed = AnyMessage()
    packed.Pack(error_details_pb2.ErrorInfo(reason="BUG", domain="example.com"))
    error = error_from_status(
        status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0], details=[packed])
    )
    assert type(error) is NotFound


@pytest.mark.parametrize(
    "trailer",
    [b"\xff\xff", status_pb2.Status(code=5, message="of another code").SerializeToString()],
)
def test_details_that_are_broken_or_of_another_code_are_ignored(trailer: bytes) -> None:
    error = error_from_rpc(
        _rpc_error(grpc.StatusCode.UNAVAILABLE, "gone", ((DETAILS_KEY, trailer),))
    )
    assert type(error) is NotReady
    assert str(error) == "gone"


def test_a_cancel_that_is_not_ours_is_a_server_that_went() -> None:
    assert type(error_from_rpc(_rpc_error(grpc.StatusCode.CANCELLED, "CANCELLED"))) is NotReady
    # What grpc.aio says in place of the status when a write meets the end of its call.
    met = _rpc_error(grpc.StatusCode.INTERNAL, "Internal error from Core")
    assert type(error_from_rpc(met)) is NotReady


def test_client_errors_keeps_the_cause() -> None:
    cause = _rpc_error(grpc.StatusCode.NOT_FOUND, "no")
    with pytest.raises(NotFound) as caught, client_errors():
        raise cause
    assert caught.value.__cause__ is cause
