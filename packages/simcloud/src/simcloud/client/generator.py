"""Typed client of the generator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from simcloud.client._frame_assembly import FrameAssembly
from simcloud.client._wire import frames_to_wire, location_to_wire, spec_to_wire
from simcloud.client.generation import GenerateEvent, event_from_wire
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.rpc.channel import connect
from simcloud.rpc.settings import TlsSettings
from simcloud.rpc.status import client_errors
from simcloud.spec.model import Spec
from simcloud.spec.plan import ShardFrames
from simcloud.v1 import frame_pb2, generator_pb2, generator_pb2_grpc

_DESCRIBE_TIMEOUT_S = 60.0
_PREVIEW_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class PreflightCheck:
    """One thing a worker looked at before it takes work."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Backend:
    """One renderer of a generator."""

    name: str
    variants: tuple[str, ...]
    """The one that ``auto`` resolves to first."""
    fingerprint: str
    fingerprint_json: str
    stochastic: bool
    preflight: tuple[PreflightCheck, ...]


@dataclass(frozen=True, slots=True)
class GeneratorDescription:
    """What a generator can do."""

    version: str
    backends: tuple[Backend, ...]
    """The default first."""
    annotators: tuple[str, ...]
    workers: int
    max_frames_per_call: int


@dataclass(frozen=True, slots=True)
class SpecCheck:
    """What a generator thinks of a spec."""

    valid: bool
    violations: tuple[tuple[str, str], ...]
    """Field and what is wrong with it."""
    warnings: tuple[str, ...]


class GeneratorClient:
    """Calls one generator.

    Every method raises the errors of ``simcloud.errors`` that the service answers; ``NotReady``
    when it can't be reached.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = generator_pb2_grpc.GeneratorServiceStub(channel)

    async def describe(self) -> GeneratorDescription:
        """What it can do."""
        with client_errors():
            answer = await self._stub.Describe(
                generator_pb2.DescribeRequest(), timeout=_DESCRIBE_TIMEOUT_S
            )
        return GeneratorDescription(
            version=answer.version,
            backends=tuple(_backend(item) for item in answer.backends),
            annotators=tuple(answer.annotators),
            workers=answer.workers,
            max_frames_per_call=answer.limits.max_frames_per_call,
        )

    async def validate(self, spec: Spec, *, bucket: str, prefix: str) -> SpecCheck:
        """Checks a spec as Generate would before its first frame."""
        with client_errors():
            answer = await self._stub.ValidateSpec(
                generator_pb2.ValidateSpecRequest(
                    spec=spec_to_wire(spec), scenes=_scenes(bucket, prefix)
                ),
                timeout=_PREVIEW_TIMEOUT_S,
            )
        return SpecCheck(
            valid=answer.valid,
            violations=tuple((item.field, item.description) for item in answer.violations),
            warnings=tuple(answer.warnings),
        )

    async def preview(
        self, spec: Spec, *, bucket: str, prefix: str, frame: int
    ) -> list[EncodedFrame]:
        """One frame by every camera, rendered and not stored."""
        request = generator_pb2.PreviewRequest(
            spec=spec_to_wire(spec), scenes=_scenes(bucket, prefix), frame=frame
        )
        assembly = FrameAssembly()
        frames = []
        with client_errors():
            async for answer in self._stub.Preview(request, timeout=_PREVIEW_TIMEOUT_S):
                if (done := assembly.take(answer.piece)) is not None:
                    frames.append(done)
        assembly.close()
        return frames

    async def stream_frames(
        self, spec: Spec, *, bucket: str, prefix: str, frames: range
    ) -> AsyncGenerator[EncodedFrame]:
        """Frames straight from the renderer, in order, nothing stored: live training.

        A slow consumer slows the renderer down. Closing the iterator cancels the call. Nothing is
        repeated here: what was given is whole, and any generator makes the rest alike.

        Raises:
            NotReady: the generator drains, and has given all cameras of its last frame; or the
                connection to it was lost, maybe between two cameras. Ask for the indexes that are
                left, of another generator.
            Corruption: the stream ended in the middle of a frame.
        """
        call = self._stub.StreamFrames(
            generator_pb2.StreamFramesRequest(
                spec=spec_to_wire(spec),
                scenes=_scenes(bucket, prefix),
                first_frame=frames.start,
                frame_count=len(frames),
                stride=frames.step,
            )
        )
        assembly = FrameAssembly()
        try:
            with client_errors():
                async for answer in call:
                    if (done := assembly.take(answer.piece)) is not None:
                        yield done
            assembly.close()
        finally:
            call.cancel()

    async def generate(
        self,
        spec: Spec,
        location: RunLocation,
        shards: Sequence[ShardFrames],
        *,
        allow_mixed_fingerprints: bool = False,
        uploader_target: str = "",
    ) -> AsyncGenerator[GenerateEvent]:
        """Renders shards into the uploader and tells what happens, the totals last.

        Closing the iterator cancels the call: it stops at the next frame boundary, and what is
        durable stays.
        """
        request = generator_pb2.GenerateRequest(
            spec=spec_to_wire(spec),
            run=location_to_wire(location),
            shards=[frames_to_wire(shard) for shard in shards],
            allow_mixed_fingerprints=allow_mixed_fingerprints,
            uploader_target=uploader_target,
        )
        call = self._stub.Generate(request)
        try:
            with client_errors():
                async for answer in call:
                    yield event_from_wire(answer)
        finally:
            call.cancel()


@asynccontextmanager
async def open_generator(
    target: str, *, tls: TlsSettings | None = None
) -> AsyncIterator[GeneratorClient]:
    """A client of the generator at ``host:port``; its channel is closed at the end."""
    async with connect(target, tls=tls) as channel:
        yield GeneratorClient(channel)


def _scenes(bucket: str, prefix: str) -> frame_pb2.RunRef:
    # `run` is not read where only scenes are looked up.
    return frame_pb2.RunRef(bucket=bucket, prefix=prefix)


def _backend(message: generator_pb2.BackendDescription) -> Backend:
    return Backend(
        name=message.name,
        variants=tuple(message.variants),
        fingerprint=message.fingerprint,
        fingerprint_json=message.fingerprint_json,
        stochastic=message.stochastic,
        preflight=tuple(
            PreflightCheck(name=item.name, ok=item.ok, detail=item.detail)
            for item in message.preflight
        ),
    )
