from __future__ import annotations

import pickle
import re

import pytest

from simcloud.errors import (
    InvalidRequest,
    Overloaded,
    PreconditionFailed,
    StorageError,
    TargetError,
    Violation,
)
from simcloud.rpc.status import error_classes, error_from_status, grpc_status

_LIBRARY = [kind for kind in error_classes() if kind.__module__.startswith("simcloud.")]


def test_reasons_are_unique_and_upper_snake() -> None:
    reasons = [kind.reason for kind in _LIBRARY]
    assert len(set(reasons)) == len(reasons)
    # google/rpc/error_details.proto, ErrorInfo.reason.
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+[A-Z0-9]", reason) for reason in reasons)


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("spec.width", "is 1 or more, found 0", spec="x"),
        Overloaded("busy", retry_after_s=0.25, limit=4),
        StorageError("SlowDown", s3_code="SlowDown", http_status=503, request_id="r"),
        TargetError("failed", target="t", target_code="ModelError", http_status=424),
        PreconditionFailed(
            "not yet", violations=(Violation(kind="A", subject="b", description="c"),)
        ),
    ],
)
def test_errors_cross_processes_whole(error: InvalidRequest) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_a_number_that_is_none_does_not_hide_the_error() -> None:
    status = grpc_status(StorageError("x", http_status=503))
    for detail in status.details:
        detail.value = detail.value.replace(b"503", b"5x3")
    error = error_from_status(status)
    assert isinstance(error, StorageError)
    assert error.http_status == 0
