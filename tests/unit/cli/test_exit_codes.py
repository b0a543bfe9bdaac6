"""Every error of ours ends a command with a code that means something."""

from __future__ import annotations

import pytest

from simcloud.errors import (
    AlreadyExists,
    Corruption,
    InvalidRequest,
    NotFound,
    NotReady,
    Overloaded,
    PreconditionFailed,
    SimcloudError,
    StorageError,
)
from simcloud_cli.exit_codes import MEANINGS, ExitCode, code_of


def test_every_code_has_a_documented_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("spec.seed", "is wrong"), ExitCode.USAGE),
        (NotFound("no such run"), ExitCode.USAGE),
        (AlreadyExists("another spec has that name"), ExitCode.USAGE),
        (NotReady("no answer"), ExitCode.UNREACHABLE),
        (Overloaded("busy"), ExitCode.UNREACHABLE),
        (StorageError("503", s3_code="SlowDown"), ExitCode.UNREACHABLE),
        (Corruption("checksum"), ExitCode.CORRUPT),
        (PreconditionFailed("aborted"), ExitCode.FAILURE),
    ],
)
def test_an_error_has_the_code_of_its_family(error: SimcloudError, code: ExitCode) -> None:
    assert code_of(error) is code
