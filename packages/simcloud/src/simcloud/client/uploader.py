"""Typed client of the uploader: runs, and the sending side of one shard."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio

from simcloud.client._shard_upload import DEFAULT_UNACKED_BYTES, ShardUpload
from simcloud.client._upload_calls import upload_stream
from simcloud.client._upload_requests import UploadTarget
from simcloud.client._upload_state import RestartShard, ResumeMismatch
from simcloud.client._wire import (
    CommittedShard,
    RunState,
    RunSummary,
    frames_from_wire,
    location_to_wire,
    plan_from_wire,
    plan_to_wire,
    spec_from_wire,
    spec_to_wire,
    summary_from_wire,
)
from simcloud.dataset.layout import RunLocation
from simcloud.rpc.status import client_errors
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan, ShardFrames
from simcloud.v1 import uploader_pb2, uploader_pb2_grpc

__all__ = [
    "AbortOutcome",
    "CommittedShard",
    "CreatedRun",
    "PublishedRun",
    "RestartShard",
    "ResumeMismatch",
    "Run",
    "RunPage",
    "RunState",
    "RunSummary",
    "ShardUpload",
    "UploaderClient",
]


@dataclass(frozen=True, slots=True)
class CreatedRun:
    """Answer to ``create_run``."""

    created: bool
    """Whether this call wrote spec.json."""
    plan_generation: int
    shards: tuple[ShardFrames, ...]
    """Shards of the plan in force, ascending."""
    committed: frozenset[int]
    """Numbers of those that are committed already."""


@dataclass(frozen=True, slots=True)
class Run:
    """Answer to ``get_run``."""

    summary: RunSummary
    spec: Spec
    plan: Plan


@dataclass(frozen=True, slots=True)
class RunPage:
    """Answer to ``list_runs``."""

    runs: tuple[RunSummary, ...]
    next_page_token: str
    """Empty on the last page."""


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """Answer to ``publish_run``."""

    summary: RunSummary
    created: bool
    """Whether this call wrote the manifest."""


@dataclass(frozen=True, slots=True)
class AbortOutcome:
    """Answer to ``abort_run``."""

    stopped_shards: int
    aborted_uploads: int
    deleted_objects: int


class UploaderClient:
    """The uploader's RPCs. Every method raises ``simcloud.errors``' classes as the contract says.

    Args:
        channel: from ``simcloud.rpc.channel.connect``; the caller closes it.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = uploader_pb2_grpc.UploaderServiceStub(channel)
        self._upload_stream = upload_stream(channel)

    async def create_run(
        self,
        location: RunLocation,
        *,
        spec: Spec,
        plan: Plan,
        provenance_json: bytes = b"",
        timeout_s: float | None = None,
    ) -> CreatedRun:
        """Creates a run, or grows it; repeating it is no error.

        Args:
            location: where.
            spec: with ``auto`` resolved and the scene's digest.
            plan: the whole plan; a growth of the one before.
            provenance_json: who and what created it, at most 64 KiB.
            timeout_s: the call's deadline, seconds.

        Raises:
            AlreadyExists: another spec is there; the message names the fields that differ.
            PreconditionFailed: the plan is no growth of the newest, or the run is aborted.
        """
        request = uploader_pb2.CreateRunRequest(
            run=location_to_wire(location),
            spec=spec_to_wire(spec),
            plan=plan_to_wire(plan),
            provenance_json=provenance_json,
        )
        with client_errors():
            answer = await self._stub.CreateRun(request, timeout=timeout_s)
        return CreatedRun(
            created=answer.created,
            plan_generation=answer.plan_generation,
            shards=tuple(frames_from_wire(item, field="shards") for item in answer.shards),
            committed=frozenset(answer.committed),
        )

    async def get_run(self, location: RunLocation, *, timeout_s: float | None = None) -> Run:
        """How far a run is, counted in S3; with its spec and newest plan.

        Raises:
            NotFound: there is no such run.
        """
        request = uploader_pb2.GetRunRequest(run=location_to_wire(location))
        with client_errors():
            answer = await self._stub.GetRun(request, timeout=timeout_s)
        return Run(
            summary=summary_from_wire(answer.summary),
            spec=spec_from_wire(answer.spec),
            plan=plan_from_wire(answer.plan),
        )

    async def list_runs(
        self,
        bucket: str,
        prefix: str = "",
        *,
        page_size: int = 0,
        page_token: str = "",
        timeout_s: float | None = None,
    ) -> RunPage:
        """A page of the runs below a prefix, by name; their ``missing`` is left out."""
        request = uploader_pb2.ListRunsRequest(
            bucket=bucket, prefix=prefix, page_size=page_size, page_token=page_token
        )
        with client_errors():
            answer = await self._stub.ListRuns(request, timeout=timeout_s)
        return RunPage(
            runs=tuple(summary_from_wire(item) for item in answer.runs),
            next_page_token=answer.next_page_token,
        )

    async def publish_run(
        self,
        location: RunLocation,
        *,
        provenance_json: bytes = b"",
        timeout_s: float | None = None,
    ) -> PublishedRun:
        """Writes the manifest of the newest plan; repeating it is no error.

        Raises:
            PreconditionFailed: shards are missing; each is a violation.
        """
        request = uploader_pb2.PublishRunRequest(
            run=location_to_wire(location), provenance_json=provenance_json
        )
        with client_errors():
            answer = await self._stub.PublishRun(request, timeout=timeout_s)
        return PublishedRun(summary=summary_from_wire(answer.summary), created=answer.created)

    async def abort_run(
        self,
        location: RunLocation,
        *,
        reason: str = "",
        purge: bool = False,
        timeout_s: float | None = None,
    ) -> AbortOutcome:
        """Stops a run for good; with ``purge`` every object of it is deleted too."""
        request = uploader_pb2.AbortRunRequest(
            run=location_to_wire(location), reason=reason, purge=purge
        )
        with client_errors():
            answer = await self._stub.AbortRun(request, timeout=timeout_s)
        return AbortOutcome(
            stopped_shards=answer.stopped_shards,
            aborted_uploads=answer.aborted_uploads,
            deleted_objects=answer.deleted_objects,
        )

    @asynccontextmanager
    async def open_shard(
        self,
        location: RunLocation,
        frames: ShardFrames,
        *,
        spec_digest: str,
        fingerprint: str,
        cameras: int,
        max_frame_bytes: int,
        allow_mixed_fingerprints: bool = False,
        unacked_bytes: int = DEFAULT_UNACKED_BYTES,
        reconnect_for_s: float = 300.0,
        writer: str = "",
    ) -> AsyncIterator[ShardUpload]:
        """Opens a shard to send frames to; entered means: it is ours, or committed already.

        One task at a time may use the upload. Leaving the block without ``commit`` leaves what is
        durable for the next writer. A cancel loses nothing that was durable. Broken streams and
        UNAVAILABLE are retried here, with jittered back-off, without the caller noticing.

        Args:
            location: the run.
            frames: the shard, as in the plan.
            spec_digest: digest of the run's spec.
            fingerprint: digest of the render fingerprint of every frame that will be sent.
            cameras: cameras of a frame.
            max_frame_bytes: upper bound of one frame's payload, all cameras.
            allow_mixed_fingerprints: join a run that holds other fingerprints.
            unacked_bytes: frames kept until they are durable, in bytes; at least one part and a
                frame are kept whatever is said here, else no part would ever be filled.
            reconnect_for_s: time without an answer after which a broken upload gives up, seconds.
            writer: who writes, for people; a random suffix is added, so that the server knows our
                reconnect from another writer.

        Raises:
            Conflict: another writer owns the shard: drop the frames and wait for its index.
            PreconditionFailed: the run is aborted, or the fingerprint may not join.
            NotFound: there is no such run.
        """
        name = writer or f"{socket.gethostname()}/{os.getpid()}"
        target = UploadTarget(
            location=location,
            frames=frames,
            spec_digest=spec_digest,
            fingerprint=fingerprint,
            cameras=cameras,
            max_frame_bytes=max_frame_bytes,
            allow_mixed_fingerprints=allow_mixed_fingerprints,
            writer=f"{name[:200]}/{secrets.token_hex(8)}",
        )
        upload = ShardUpload(
            self._upload_stream,
            target,
            unacked_bytes=unacked_bytes,
            reconnect_for_s=reconnect_for_s,
            rng=random.Random(),  # noqa: S311 - jitter is no secret
        )
        failure: BaseException | None = None
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(upload.run(), name="shard upload")
            try:
                await upload.opened()
                yield upload
            except BaseException as error:
                failure = error
            pump.cancel()
        if failure is not None:
            raise failure
