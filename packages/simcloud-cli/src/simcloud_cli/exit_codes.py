"""What each exit code of ``simcloud`` means. Scripts and schedulers may rely on them."""

from __future__ import annotations

from enum import IntEnum

from simcloud.errors import (
    AlreadyExists,
    Corruption,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    SimcloudError,
    Transient,
)


class ExitCode(IntEnum):
    """The process's answer."""

    COMPLETE = 0
    """Done; nothing missing, nothing quarantined (or within ``--allow-quarantine``)."""
    FAILURE = 1
    """It failed; the message says what and where."""
    USAGE = 2
    """The command line, the spec or another input is wrong: trying again won't help."""
    INCOMPLETE = 3
    """Frames are missing; the list and the command that mends it were printed."""
    QUARANTINED = 4
    """Complete, but label QA quarantined more frames than ``--allow-quarantine``."""
    UNREACHABLE = 5
    """A service or S3 can't be reached or is not ready: trying again later may help."""
    CORRUPT = 6
    """Stored data is not what its checksums say."""
    INTERRUPTED = 130
    """Ctrl-C or SIGTERM; what was stored stays, and the run can be resumed."""


MEANINGS: dict[ExitCode, str] = {
    ExitCode.COMPLETE: "complete: nothing missing, nothing quarantined beyond --allow-quarantine",
    ExitCode.FAILURE: "failure: the message says what and where",
    ExitCode.USAGE: "wrong command line, spec or input: trying again won't help",
    ExitCode.INCOMPLETE: "incomplete: frames are missing; they and the mending command are listed",
    ExitCode.QUARANTINED: "complete, but more frames quarantined than --allow-quarantine",
    ExitCode.UNREACHABLE: "a service or S3 can't be reached or isn't ready: try again later",
    ExitCode.CORRUPT: "stored data is not what its checksums say",
    ExitCode.INTERRUPTED: "interrupted: what was stored stays, the run can be resumed",
}
"""The table that `simcloud --help` and docs/reference/exit-codes.md show."""


def code_of(error: SimcloudError) -> ExitCode:
    """The exit code of an error that ended a command."""
    if isinstance(error, Corruption):
        return ExitCode.CORRUPT
    if isinstance(error, InvalidRequest | NotFound | AlreadyExists):
        return ExitCode.USAGE
    if isinstance(error, Transient | DeadlineExceeded):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILURE
