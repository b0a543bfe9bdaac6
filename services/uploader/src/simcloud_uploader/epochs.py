"""Who owns an open shard, and what any replica needs to go on with it. Pure.

Epoch ``n`` of a shard is the object ``uploads/<shard>/<n>.json``, made with ``If-None-Match: *``:
of many who try, one wins, and whoever sees ``n + 1`` knows that ``n`` is over. Only its owner
writes it again. Correctness rests on S3's conditional writes and on the checks before Complete; the
waiting of ``decide`` keeps two live writers from undoing each other's work.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import cast

from simcloud.errors import Corruption
from simcloud.s3 import checksums
from simcloud.spec.canonical import canonical_bytes
from simcloud_uploader.parts import StoredPart

VERSION = "simcloud.epoch/v1"


class EpochState(StrEnum):
    """What the owner of an epoch last said."""

    OPEN = "open"
    """It is at work; it writes the object again at least every third of ``stale_after_s``."""
    RELEASED = "released"
    """It stopped and will write nothing more: anyone may go on at once."""
    ABORTED = "aborted"
    """The run was aborted: nobody may go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The document."""

    epoch: int
    """From 1."""
    state: EpochState
    instance: str
    """The uploader process that owns it."""
    writer: str
    """Who sends the frames."""
    upload_id: str
    """Multipart upload; empty in an aborted epoch."""
    upload_epoch: int
    """Epoch that created the upload; S3 keeps it as the object's metadata."""
    spec_digest: str
    fingerprint: str
    """Digest of the render fingerprint of the frames that its owner is sent."""
    part_size_bytes: int
    first_frame: int
    parts: tuple[StoredPart, ...] = ()
    """Parts in S3, from 1 without gaps; each ends at a frame's end."""

    @property
    def next_frame(self) -> int:
        """Where to go on."""
        return self.parts[-1].end_frame if self.parts else self.first_frame

    def to_json(self) -> bytes:
        """The object's bytes."""
        return canonical_bytes(
            {
                "version": VERSION,
                "epoch": self.epoch,
                "state": self.state.value,
                "instance": self.instance,
                "writer": self.writer,
                "upload_id": self.upload_id,
                "upload_epoch": self.upload_epoch,
                "spec_digest": self.spec_digest,
                "fingerprint": self.fingerprint,
                "part_size_bytes": self.part_size_bytes,
                "first_frame": self.first_frame,
                "next_frame": self.next_frame,
                "parts": [
                    {
                        "number": part.number,
                        "size_bytes": part.size_bytes,
                        "etag": part.etag,
                        "crc64nvme": checksums.to_hex(part.crc64nvme),
                        "end_frame": part.end_frame,
                    }
                    for part in self.parts
                ],
            }
        )


def epoch_from_json(data: bytes, *, key: str) -> Epoch:
    """Reads the document.

    Args:
        data: JSON, UTF-8.
        key: its object, for the error.

    Raises:
        Corruption: it is not an epoch, or its parts have gaps.
    """
    try:
        fields = dict(cast("dict[str, object]", json.loads(data)))
        if fields.pop("version") != VERSION:
            raise Corruption(f"{key} is not of version {VERSION}")
        next_frame = fields.pop("next_frame")
        state = EpochState(cast("str", fields.pop("state")))
        rows = cast("list[dict[str, object]]", fields.pop("parts"))
        parts = tuple(
            StoredPart(**{**row, "crc64nvme": checksums.from_hex(str(row["crc64nvme"]))})  # type: ignore[arg-type]
            for row in rows
        )
        epoch = Epoch(state=state, parts=parts, **fields)  # type: ignore[arg-type]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise Corruption(f"{key} is not an epoch object: {error}") from error
    if [part.number for part in parts] != list(range(1, len(parts) + 1)):
        raise Corruption(f"{key}: the parts have gaps")
    if next_frame != epoch.next_frame:
        raise Corruption(f"{key}: next_frame is {next_frame}, the parts say {epoch.next_frame}")
    return epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEpoch:
    """The newest epoch of a shard as S3 has it."""

    document: Epoch
    last_modified: datetime
    """By S3's clock."""
    date: datetime
    """When S3 answered, by the same clock: this machine's clock decides nothing."""

    @property
    def age_s(self) -> float:
        """Seconds without a change. Both times are whole seconds: a second too much at most."""
        return (self.date - self.last_modified).total_seconds()


@dataclass(frozen=True, slots=True)
class Claim:
    """Try to make this epoch."""

    epoch: int
    continues: Epoch | None
    """The epoch before, when there is one."""


@dataclass(frozen=True, slots=True)
class Owned:
    """Another writer is at work."""

    document: Epoch
    stale_in_s: float
    """Seconds after which it may be taken over if it stays as it is."""


@dataclass(frozen=True, slots=True)
class WaitForOwnStream:
    """This writer's former stream went to another process, which may still be at work."""

    document: Epoch
    stale_in_s: float


@dataclass(frozen=True, slots=True)
class RunAborted:
    """The shard was stopped with its run."""


Decision = Claim | Owned | WaitForOwnStream | RunAborted


def decide(
    newest: SeenEpoch | None, *, instance: str, writer: str, stale_after_s: float
) -> Decision:
    """What an open may do.

    Four may go on at once: the first; whoever finds a released epoch; the process that owns the
    epoch itself (the caller has made sure that its former stream is closed: a process has one
    stream a shard); and anyone once the epoch has not changed for ``stale_after_s``.

    Args:
        newest: the shard's newest epoch, None when there is none.
        instance: this process.
        writer: who wants to send; the same for every stream of one upload.
        stale_after_s: time without a change after which an owner counts as dead, seconds.
    """
    if newest is None:
        return Claim(1, None)
    document = newest.document
    if document.state is EpochState.ABORTED:
        return RunAborted()
    claim = Claim(document.epoch + 1, document)
    if document.state is EpochState.RELEASED or document.instance == instance:
        return claim
    # Strictly more, because the age may be a second too much.
    if newest.age_s > stale_after_s:
        return claim
    stale_in_s = max(stale_after_s - newest.age_s, 0.0) + 1.0
    if writer and document.writer == writer:
        return WaitForOwnStream(document, stale_in_s)
    return Owned(document, stale_in_s)


def continues_upload(
    former: Epoch | None, *, spec_digest: str, fingerprint: str, mixed: bool
) -> bool:
    """Whether a new owner goes on with the former one's upload rather than beginning again."""
    return (
        former is not None
        and bool(former.upload_id)
        and former.spec_digest == spec_digest
        and (former.fingerprint == fingerprint or mixed)
    )


def released(document: Epoch) -> Epoch:
    """The document by which its owner lets go."""
    return replace(document, state=EpochState.RELEASED)


def writer_metadata(run: str, shard: int, epoch: int) -> str:
    """Value of ``x-amz-meta-simcloud-writer``: says whose upload an object was made by."""
    return f"{run}/{shard:06d}/{epoch}"
