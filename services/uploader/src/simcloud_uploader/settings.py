"""The uploader's settings."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from simcloud.rpc.auth import AllowLists
from simcloud.rpc.settings import MIB, ServerSettings, TransportName
from simcloud.s3.client import S3Settings
from simcloud.s3.multipart import MAX_PARTS, MIN_PART_BYTES


class UploaderSettings(ServerSettings):
    """Takes frames as a stream and writes them to S3 as shards."""

    transport: TransportName = "http2"
    s3: S3Settings = S3Settings()
    """Where S3 is and who we are there."""
    allow: AllowLists = AllowLists()
    """Buckets and prefixes that callers may name."""
    budget_bytes: int = Field(default=512 * MIB, ge=1)
    """Memory for frames and parts of all streams together. A stream is given credit when one part
    and its largest frame fit. What parts leave, the process keeps for the next ones."""
    part_size_bytes: int = Field(default=16 * MIB, ge=1)
    """Size at which a part ends at the next frame's end; larger where a shard would have more parts
    than S3 allows. Larger parts are fewer requests and fewer resume points."""
    min_part_bytes: int = Field(default=MIN_PART_BYTES, ge=1)
    """Smallest part, but for the last, that S3 takes."""
    max_part_bytes: int = Field(default=5 * 1024 * MIB, ge=1)
    """Largest part that S3 takes."""
    max_parts: int = Field(default=MAX_PARTS, ge=1, le=MAX_PARTS)
    """Most parts of one upload."""
    upload_concurrency: int = Field(default=16, ge=1, le=1024)
    """Parts of all streams on their way to S3 at once; halved when S3 says SlowDown, regained
    step by step."""
    parts_in_flight: int = Field(default=4, ge=1, le=64)
    """Parts that one stream holds beside the one it fills, memory permitting."""
    part_attempts: int = Field(default=6, ge=1, le=100)
    """Tries of one UploadPart, the first included."""
    max_waiting_streams: int = Field(default=64, ge=0)
    """Streams that wait for memory; more are refused with RESOURCE_EXHAUSTED."""
    idle_timeout_s: float = Field(default=600.0, gt=0)
    """Silence of a client that has credit after which its stream is ended, seconds."""
    stale_after_s: float = Field(default=30.0, gt=0)
    """Time without a change of its epoch object after which a shard's owner counts as dead, by S3's
    clock, seconds; the owner writes it at least every third of that. The same on all replicas."""
    cleanup_s: float = Field(default=10.0, gt=0)
    """Time that a stream's end has to leave a checkpoint, seconds; less than `drain_s`."""
    max_restarts: int = Field(default=3, ge=0)
    """How often one stream begins again after S3 lost its upload, before it gives up."""
    max_row_bytes: int = Field(default=32 * MIB, ge=0)
    """Records that a stream keeps for its index, in bytes; a shard with more has its index made
    from the tar by ranged GETs. Beside `budget_bytes`."""
    upload_ttl_s: float = Field(default=24 * 3600.0, gt=0)
    """Age after which an upload nobody goes on with is aborted, seconds."""
    sweep_interval_s: float = Field(default=3600.0, gt=0)
    """Time between two sweeps, seconds: of the runs that this process has served, and of those in
    which dead ones left something, below the prefixes it has served or `sweep_prefixes` names."""
    sweep_prefixes: tuple[str, ...] = ()
    """`bucket` or `bucket/prefix` of runs that are swept though this process never served them."""

    facts_bytes: int = Field(default=32 * MIB, ge=0)
    """Memory for what looks at runs have read of objects that never change, beside `budget_bytes`:
    2 KiB a committed shard, so that following a run costs its new shards; 0: all is read again at
    each look."""
    probe_s3: bool = True
    """Try once a bucket what its server can do, with two small objects below `.simcloud-probe/`,
    and refuse one that can't keep the promises; off: take it to be as AWS's."""
    allow_unconditional_writes_single_writer: bool = False
    """Take a server that ignores `If-None-Match` or `If-Match`, asking before each write what is
    there. Only where never two writers work on one run: of two, each may destroy the other's
    shard."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.min_part_bytes <= self.part_size_bytes <= self.max_part_bytes:
            raise ValueError("part_size_bytes must be from min_part_bytes to max_part_bytes")
        if self.part_size_bytes >= self.budget_bytes:
            raise ValueError("budget_bytes must hold a part of part_size_bytes and a frame")
        return self
