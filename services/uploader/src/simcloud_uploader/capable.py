"""Whether a bucket's server can keep what the commit protocol promises; asked once a bucket."""

from __future__ import annotations

import asyncio

from simcloud.dataset.layout import RunLocation
from simcloud.errors import PreconditionFailed
from simcloud.s3.objects import ObjectStore
from simcloud.s3.probe import Capabilities, probe, writing_to
from simcloud.telemetry.logging import get_logger

_MAX_BUCKETS = 1000
_log = get_logger(__name__)


class ServerLacks(PreconditionFailed):
    """The S3 server can't do what the promises rest on."""

    reason = "S3_SERVER_LACKS"


class ServerCheck:
    """Probes each bucket at its first use and remembers the answer while the process lives.

    Args:
        store: S3, tried as it is used; without checks of our own before each write.
        enabled: False: every server is taken to be as AWS's.
        single_writer: take a server that ignores conditions on writes: the operator vouches that
            no two writers ever work on one run.
    """

    def __init__(self, store: ObjectStore, *, enabled: bool, single_writer: bool) -> None:
        self._store = store
        self._enabled = enabled
        self._single_writer = single_writer
        self._known: dict[str, Capabilities] = {}
        self._asking = asyncio.Lock()

    async def require(self, location: RunLocation) -> None:
        """Returns when runs may be written there.

        Raises:
            ServerLacks: says what is missing, what can't be promised and what to do.
            SimcloudError: the server could not be tried; asked again at the next call.
        """
        if not self._enabled:
            return
        async with self._asking:
            found = self._known.get(location.bucket)
            if found is None:
                found = await probe(self._store, location.bucket, location.prefix)
                if len(self._known) >= _MAX_BUCKETS:
                    self._known.clear()
                self._known[location.bucket] = found
                self._tell(location.bucket, found)
        if problem := lacking(found, single_writer=self._single_writer):
            raise ServerLacks(f"the S3 server of bucket {location.bucket}: {problem}")

    def _tell(self, bucket: str, found: Capabilities) -> None:
        if not found.all:
            _log.warning(
                "the S3 server can do less than AWS's",
                bucket=bucket,
                unconditional=found.unconditional,
                unlisted=found.unlisted,
                verifies=found.verifies,
            )


def lacking(found: Capabilities, *, single_writer: bool) -> str:
    """Why runs can't be written to such a server; empty when they can. Pure."""
    writing = writing_to(found)
    if writing.taken or (single_writer and not found.unlisted):
        return ""
    return f"{writing.way}; {writing.mend}"
