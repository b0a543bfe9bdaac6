"""Typed client of the generator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf.duration_pb2 import Duration

from simcloud.client._wire import (
    CommittedShard,
    committed_from_wire,
    frames_from_wire,
    frames_to_wire,
    location_to_wire,
    spec_to_wire,
)
from simcloud.dataset.frames import EncodedFrame, Layer
from simcloud.dataset.layout import RunLocation
from simcloud.errors import Corruption
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


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Wall-clock seconds of one frame by stage; stages of different frames overlap."""

    sample: float
    settle: float
    """Physics of what is dropped; 0 where nothing is, and from a generator that doesn't tell."""
    build: float
    render: float
    annotate: float
    check: float
    encode: float
    send: float
    cpu: float
    """CPU seconds of the worker, all threads; not a stage."""


@dataclass(frozen=True, slots=True)
class ShardOpened:
    """A shard is being rendered."""

    frames: ShardFrames
    resume_frame: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ShardMoved:
    """A frame was made, or became durable."""

    shard: int
    rendered_frames: int
    durable_before: int
    frame: int
    timings: StageSeconds | None
    quarantine_reason: str
    quarantine_rule: str = ""
    """Rule that the frame broke; empty when it was not quarantined."""


@dataclass(frozen=True, slots=True)
class ShardGivenUp:
    """A shard that this call did not store."""

    frames: ShardFrames
    code: int
    reason: str
    message: str
    retryable: bool

    @property
    def owned_by_another(self) -> bool:
        """Whether another driver is at it: wait for its index."""
        aborted: int = grpc.StatusCode.ABORTED.value[0]
        return self.code == aborted


@dataclass(frozen=True, slots=True)
class GenerateTotals:
    """Totals of one Generate call; cost figures, not accounting."""

    rendered_frames: int
    quarantined_frames: int
    wall_s: float
    cpu_s: float
    idle_s: float
    fingerprint: str
    failed_shards: int
    quarantined_by_rule: Mapping[str, int] = field(default_factory=dict)


GenerateEvent = ShardOpened | ShardMoved | CommittedShard | ShardGivenUp | GenerateTotals


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
        assembly = _FrameAssembly()
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

        A slow consumer slows the renderer down. Closing the iterator cancels the call.

        Raises:
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
        assembly = _FrameAssembly()
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
                    yield _event(answer)
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


def _event(message: generator_pb2.GenerateResponse) -> GenerateEvent:
    match message.WhichOneof("event"):
        case "shard_started":
            started = message.shard_started
            return ShardOpened(
                frames=frames_from_wire(started.range),
                resume_frame=started.resume_frame,
                epoch=started.epoch,
            )
        case "progress":
            return _moved(message.progress)
        case "shard_committed":
            return committed_from_wire(message.shard_committed)
        case "shard_failed":
            failed = message.shard_failed
            return ShardGivenUp(
                frames=frames_from_wire(failed.range),
                code=failed.code,
                reason=failed.reason,
                message=failed.message,
                retryable=failed.retryable,
            )
        case "summary":
            return _totals(message.summary)
        case other:
            raise Corruption(f"the generator sent an event that this version doesn't know: {other}")


def _moved(message: generator_pb2.ShardProgress) -> ShardMoved:
    timings = message.timings
    return ShardMoved(
        shard=message.shard,
        rendered_frames=message.rendered_frames,
        durable_before=message.durable_before,
        frame=message.frame,
        timings=StageSeconds(
            sample=_seconds(timings.sample),
            settle=_seconds(timings.settle),
            build=_seconds(timings.build),
            render=_seconds(timings.render),
            annotate=_seconds(timings.annotate),
            check=_seconds(timings.check),
            encode=_seconds(timings.encode),
            send=_seconds(timings.send),
            cpu=_seconds(timings.cpu),
        )
        if message.HasField("timings")
        else None,
        quarantine_reason=message.quarantine_reason,
        quarantine_rule=message.quarantine_rule,
    )


def _totals(message: generator_pb2.GenerateSummary) -> GenerateTotals:
    return GenerateTotals(
        rendered_frames=message.rendered_frames,
        quarantined_frames=message.quarantined_frames,
        wall_s=_seconds(message.wall),
        cpu_s=_seconds(message.cpu),
        idle_s=_seconds(message.idle),
        fingerprint=message.fingerprint,
        failed_shards=message.failed_shards,
        quarantined_by_rule=dict(sorted(message.quarantined_by_rule.items())),
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


@dataclass(slots=True)
class _FrameAssembly:
    """Pieces of frames to frames; the two fields are its only state."""

    _header: frame_pb2.FrameHeader | None = None
    _layers: list[bytearray] = field(default_factory=list)

    def take(self, piece: frame_pb2.FramePiece) -> EncodedFrame | None:
        """The frame that this piece completes, if it does."""
        if piece.HasField("header"):
            self.close()
            self._header = piece.header
            self._layers = [bytearray() for _ in piece.header.layers]
        else:
            if self._header is None or piece.chunk.layer >= len(self._layers):
                raise Corruption("a layer's chunk came before its frame's header")
            self._layers[piece.chunk.layer] += piece.chunk.data
        return self._completed()

    def close(self) -> None:
        """Returns when no frame is begun and unfinished."""
        if self._header is not None:
            raise Corruption(
                f"frame {self._header.frame} of camera {self._header.camera} ended early"
            )

    def _completed(self) -> EncodedFrame | None:
        header = self._header
        assert header is not None
        layers = list(zip(header.layers, self._layers, strict=True))
        if any(len(data) < info.size_bytes for info, data in layers):
            return None
        self._header = None
        return EncodedFrame(
            frame=header.frame,
            camera=header.camera,
            record=header.record,
            layers=tuple(
                Layer(
                    annotator=info.annotator,
                    extension=info.extension,
                    media_type=info.media_type,
                    data=bytes(data),
                    crc64nvme=info.crc64nvme,
                )
                for info, data in layers
            ),
        )
