"""Wire messages of the generator to our types and back; requests are validated here, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import simcloud_generator
from simcloud.annotators import ANNOTATORS
from simcloud.client._wire import (
    CommittedShard,
    committed_to_wire,
    frame_header,
    frames_from_wire,
    frames_to_wire,
    layer_chunks,
    location_from_wire,
    spec_from_wire,
)
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import check_bucket, check_prefix
from simcloud.errors import InvalidRequest
from simcloud.rpc.durations import duration_of
from simcloud.spec.plan import ShardFrames
from simcloud.v1 import frame_pb2, spec_pb2
from simcloud.v1 import generator_pb2 as pb
from simcloud_generator.generator import Generator
from simcloud_generator.requests import (
    Failed,
    GenerateEvent,
    GenerateRequest,
    SpecRequest,
    StreamRequest,
    Summary,
)
from simcloud_generator.shard_run import Progress, Started

MAX_CAMERAS = 16
_STAGES = ("sample", "settle", "build", "render", "annotate", "check", "encode", "send")


def spec_request(spec: spec_pb2.SpecDocument, scenes: frame_pb2.RunRef) -> SpecRequest:
    """A spec and where its scene is.

    Raises:
        InvalidRequest: either is missing or malformed.
    """
    check_bucket(scenes.bucket, field="scenes.bucket")
    check_prefix(scenes.prefix, field="scenes.prefix")
    model = spec_from_wire(spec)
    if not model.scene.digest:
        raise InvalidRequest("spec.scene.digest", "is empty: put the scene to S3 and name it")
    return SpecRequest(
        spec=model,
        spec_json=spec.canonical_json,
        spec_digest=spec.digest,
        bucket=scenes.bucket,
        prefix=scenes.prefix,
    )


def generate_request(message: pb.GenerateRequest) -> GenerateRequest:
    """Shards to render.

    Raises:
        InvalidRequest: no shard, one twice, an empty one, or what `spec_request` refuses.
    """
    run = location_from_wire(message.run)
    ask = spec_request(message.spec, message.run)
    shards: list[ShardFrames] = []
    for index, item in enumerate(message.shards):
        shard = frames_from_wire(item, field=f"shards[{index}]")
        if any(other.shard == shard.shard for other in shards):
            raise InvalidRequest(f"shards[{index}].shard", f"{shard.shard} is named twice")
        shards.append(shard)
    if not shards:
        raise InvalidRequest("shards", "is empty: name at least one shard of the run's plan")
    return GenerateRequest(
        ask=ask,
        run=run,
        shards=tuple(shards),
        allow_mixed_fingerprints=message.allow_mixed_fingerprints,
        uploader_target=message.uploader_target,
    )


def stream_request(message: pb.StreamFramesRequest) -> StreamRequest:
    """Frames to have.

    Raises:
        InvalidRequest: what `spec_request` refuses.
    """
    stride = message.stride or 1
    end = message.first_frame + message.frame_count * stride
    return StreamRequest(
        ask=spec_request(message.spec, message.scenes),
        frames=range(message.first_frame, end, stride),
    )


def pieces(frame: EncodedFrame) -> Iterator[frame_pb2.FramePiece]:
    """A frame as it travels."""
    yield frame_pb2.FramePiece(header=frame_header(frame))
    for chunk in layer_chunks(frame):
        yield frame_pb2.FramePiece(chunk=chunk)


def violations(
    problems: Iterable[tuple[str, str]], warnings: Iterable[str]
) -> pb.ValidateSpecResponse:
    """What was found in a spec."""
    found = [pb.SpecViolation(field=field, description=text) for field, text in problems]
    return pb.ValidateSpecResponse(valid=not found, violations=found, warnings=list(warnings))


def description(generator: Generator) -> pb.DescribeResponse:
    """What this worker can do."""
    identity, settings = generator.pool.identity, generator.settings
    return pb.DescribeResponse(
        version=simcloud_generator.__version__,
        backends=[
            pb.BackendDescription(
                name=identity.backend,
                variants=identity.variants,
                fingerprint=identity.fingerprint,
                fingerprint_json=identity.fingerprint_json,
                stochastic=identity.stochastic,
                preflight=[
                    pb.PreflightCheck(name=check.name, ok=check.ok, detail=check.detail)
                    for check in identity.preflight
                ],
            )
        ],
        annotators=list(ANNOTATORS),
        limits=pb.GeneratorLimits(
            max_resolution_px=settings.max_resolution_px,
            max_cameras=MAX_CAMERAS,
            max_frames_per_call=settings.max_frames_per_call,
        ),
        workers=generator.pool.workers,
    )


def event(happened: GenerateEvent) -> pb.GenerateResponse:
    """What happened, as it is reported."""
    match happened:
        case Started():
            return pb.GenerateResponse(
                shard_started=pb.ShardStarted(
                    range=frames_to_wire(happened.shard),
                    resume_frame=happened.resume_frame,
                    epoch=happened.epoch,
                )
            )
        case Progress():
            return pb.GenerateResponse(progress=_progress(happened))
        case CommittedShard():
            return pb.GenerateResponse(shard_committed=committed_to_wire(happened))
        case Failed():
            return pb.GenerateResponse(shard_failed=_failed(happened))
        case Summary():
            return pb.GenerateResponse(summary=_summary(happened))


def _progress(happened: Progress) -> pb.ShardProgress:
    result = happened.result
    seconds = {**result.timings_s, "send": happened.send_s}
    timings = pb.StageTimings(cpu=duration_of(result.cpu_s))
    for stage in _STAGES:
        getattr(timings, stage).CopyFrom(duration_of(seconds.get(stage, 0.0)))
    return pb.ShardProgress(
        shard=happened.shard.shard,
        rendered_frames=happened.rendered,
        durable_before=happened.durable_before,
        frame=result.frame,
        timings=timings,
        quarantine_reason=result.quarantine,
        quarantine_rule=result.quarantine_rule,
    )


def _failed(happened: Failed) -> pb.ShardFailed:
    error = happened.error
    return pb.ShardFailed(
        range=frames_to_wire(happened.shard),
        code=error.code.value[0],
        reason=error.reason,
        message=str(error),
        retryable=error.retryable,
    )


def _summary(happened: Summary) -> pb.GenerateSummary:
    return pb.GenerateSummary(
        rendered_frames=happened.rendered,
        quarantined_frames=happened.quarantined,
        wall=duration_of(happened.wall_s),
        cpu=duration_of(happened.cpu_s),
        idle=duration_of(happened.idle_s),
        fingerprint=happened.fingerprint,
        failed_shards=happened.failed,
        quarantined_by_rule=dict(happened.quarantined_by_rule),
    )
