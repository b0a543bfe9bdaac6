import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from simcloud.v1 import dataset_pb2 as _dataset_pb2
from simcloud.v1 import frame_pb2 as _frame_pb2
from simcloud.v1 import spec_pb2 as _spec_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("version", "backends", "annotators", "limits", "workers")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATORS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    version: str
    backends: _containers.RepeatedCompositeFieldContainer[BackendDescription]
    annotators: _containers.RepeatedScalarFieldContainer[str]
    limits: GeneratorLimits
    workers: int
    def __init__(self, version: _Optional[str] = ..., backends: _Optional[_Iterable[_Union[BackendDescription, _Mapping]]] = ..., annotators: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[GeneratorLimits, _Mapping]] = ..., workers: _Optional[int] = ...) -> None: ...

class BackendDescription(_message.Message):
    __slots__ = ("name", "variants", "fingerprint", "fingerprint_json", "stochastic", "preflight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_JSON_FIELD_NUMBER: _ClassVar[int]
    STOCHASTIC_FIELD_NUMBER: _ClassVar[int]
    PREFLIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    variants: _containers.RepeatedScalarFieldContainer[str]
    fingerprint: str
    fingerprint_json: str
    stochastic: bool
    preflight: _containers.RepeatedCompositeFieldContainer[PreflightCheck]
    def __init__(self, name: _Optional[str] = ..., variants: _Optional[_Iterable[str]] = ..., fingerprint: _Optional[str] = ..., fingerprint_json: _Optional[str] = ..., stochastic: bool = ..., preflight: _Optional[_Iterable[_Union[PreflightCheck, _Mapping]]] = ...) -> None: ...

class PreflightCheck(_message.Message):
    __slots__ = ("name", "ok", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    ok: bool
    detail: str
    def __init__(self, name: _Optional[str] = ..., ok: bool = ..., detail: _Optional[str] = ...) -> None: ...

class GeneratorLimits(_message.Message):
    __slots__ = ("max_resolution_px", "max_cameras", "max_frames_per_call")
    MAX_RESOLUTION_PX_FIELD_NUMBER: _ClassVar[int]
    MAX_CAMERAS_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAMES_PER_CALL_FIELD_NUMBER: _ClassVar[int]
    max_resolution_px: int
    max_cameras: int
    max_frames_per_call: int
    def __init__(self, max_resolution_px: _Optional[int] = ..., max_cameras: _Optional[int] = ..., max_frames_per_call: _Optional[int] = ...) -> None: ...

class ValidateSpecRequest(_message.Message):
    __slots__ = ("spec", "scenes")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SCENES_FIELD_NUMBER: _ClassVar[int]
    spec: _spec_pb2.SpecDocument
    scenes: _frame_pb2.RunRef
    def __init__(self, spec: _Optional[_Union[_spec_pb2.SpecDocument, _Mapping]] = ..., scenes: _Optional[_Union[_frame_pb2.RunRef, _Mapping]] = ...) -> None: ...

class ValidateSpecResponse(_message.Message):
    __slots__ = ("valid", "violations", "warnings")
    VALID_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    valid: bool
    violations: _containers.RepeatedCompositeFieldContainer[SpecViolation]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, valid: bool = ..., violations: _Optional[_Iterable[_Union[SpecViolation, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class SpecViolation(_message.Message):
    __slots__ = ("field", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class PreviewRequest(_message.Message):
    __slots__ = ("spec", "scenes", "frame")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SCENES_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    spec: _spec_pb2.SpecDocument
    scenes: _frame_pb2.RunRef
    frame: int
    def __init__(self, spec: _Optional[_Union[_spec_pb2.SpecDocument, _Mapping]] = ..., scenes: _Optional[_Union[_frame_pb2.RunRef, _Mapping]] = ..., frame: _Optional[int] = ...) -> None: ...

class PreviewResponse(_message.Message):
    __slots__ = ("piece",)
    PIECE_FIELD_NUMBER: _ClassVar[int]
    piece: _frame_pb2.FramePiece
    def __init__(self, piece: _Optional[_Union[_frame_pb2.FramePiece, _Mapping]] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("spec", "run", "shards", "allow_mixed_fingerprints", "uploader_target")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_MIXED_FINGERPRINTS_FIELD_NUMBER: _ClassVar[int]
    UPLOADER_TARGET_FIELD_NUMBER: _ClassVar[int]
    spec: _spec_pb2.SpecDocument
    run: _frame_pb2.RunRef
    shards: _containers.RepeatedCompositeFieldContainer[_dataset_pb2.ShardRange]
    allow_mixed_fingerprints: bool
    uploader_target: str
    def __init__(self, spec: _Optional[_Union[_spec_pb2.SpecDocument, _Mapping]] = ..., run: _Optional[_Union[_frame_pb2.RunRef, _Mapping]] = ..., shards: _Optional[_Iterable[_Union[_dataset_pb2.ShardRange, _Mapping]]] = ..., allow_mixed_fingerprints: bool = ..., uploader_target: _Optional[str] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("shard_started", "progress", "shard_committed", "shard_failed", "summary")
    SHARD_STARTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SHARD_COMMITTED_FIELD_NUMBER: _ClassVar[int]
    SHARD_FAILED_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    shard_started: ShardStarted
    progress: ShardProgress
    shard_committed: _dataset_pb2.CommittedShard
    shard_failed: ShardFailed
    summary: GenerateSummary
    def __init__(self, shard_started: _Optional[_Union[ShardStarted, _Mapping]] = ..., progress: _Optional[_Union[ShardProgress, _Mapping]] = ..., shard_committed: _Optional[_Union[_dataset_pb2.CommittedShard, _Mapping]] = ..., shard_failed: _Optional[_Union[ShardFailed, _Mapping]] = ..., summary: _Optional[_Union[GenerateSummary, _Mapping]] = ...) -> None: ...

class ShardStarted(_message.Message):
    __slots__ = ("range", "resume_frame", "epoch")
    RANGE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FRAME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    range: _dataset_pb2.ShardRange
    resume_frame: int
    epoch: int
    def __init__(self, range: _Optional[_Union[_dataset_pb2.ShardRange, _Mapping]] = ..., resume_frame: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class ShardProgress(_message.Message):
    __slots__ = ("shard", "rendered_frames", "durable_before", "frame", "timings", "quarantine_reason", "quarantine_rule")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    RENDERED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    DURABLE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_REASON_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_RULE_FIELD_NUMBER: _ClassVar[int]
    shard: int
    rendered_frames: int
    durable_before: int
    frame: int
    timings: StageTimings
    quarantine_reason: str
    quarantine_rule: str
    def __init__(self, shard: _Optional[int] = ..., rendered_frames: _Optional[int] = ..., durable_before: _Optional[int] = ..., frame: _Optional[int] = ..., timings: _Optional[_Union[StageTimings, _Mapping]] = ..., quarantine_reason: _Optional[str] = ..., quarantine_rule: _Optional[str] = ...) -> None: ...

class StageTimings(_message.Message):
    __slots__ = ("sample", "build", "render", "annotate", "check", "encode", "send", "cpu", "settle")
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    RENDER_FIELD_NUMBER: _ClassVar[int]
    ANNOTATE_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    SETTLE_FIELD_NUMBER: _ClassVar[int]
    sample: _duration_pb2.Duration
    build: _duration_pb2.Duration
    render: _duration_pb2.Duration
    annotate: _duration_pb2.Duration
    check: _duration_pb2.Duration
    encode: _duration_pb2.Duration
    send: _duration_pb2.Duration
    cpu: _duration_pb2.Duration
    settle: _duration_pb2.Duration
    def __init__(self, sample: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., build: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., render: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., annotate: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., check: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., encode: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., send: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cpu: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., settle: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ShardFailed(_message.Message):
    __slots__ = ("range", "code", "reason", "message", "retryable")
    RANGE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    range: _dataset_pb2.ShardRange
    code: int
    reason: str
    message: str
    retryable: bool
    def __init__(self, range: _Optional[_Union[_dataset_pb2.ShardRange, _Mapping]] = ..., code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., retryable: bool = ...) -> None: ...

class GenerateSummary(_message.Message):
    __slots__ = ("rendered_frames", "quarantined_frames", "wall", "cpu", "idle", "fingerprint", "failed_shards", "quarantined_by_rule")
    class QuarantinedByRuleEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    RENDERED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    WALL_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    IDLE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FAILED_SHARDS_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_BY_RULE_FIELD_NUMBER: _ClassVar[int]
    rendered_frames: int
    quarantined_frames: int
    wall: _duration_pb2.Duration
    cpu: _duration_pb2.Duration
    idle: _duration_pb2.Duration
    fingerprint: str
    failed_shards: int
    quarantined_by_rule: _containers.ScalarMap[str, int]
    def __init__(self, rendered_frames: _Optional[int] = ..., quarantined_frames: _Optional[int] = ..., wall: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cpu: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., idle: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., fingerprint: _Optional[str] = ..., failed_shards: _Optional[int] = ..., quarantined_by_rule: _Optional[_Mapping[str, int]] = ...) -> None: ...

class StreamFramesRequest(_message.Message):
    __slots__ = ("spec", "scenes", "first_frame", "frame_count", "stride")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SCENES_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    spec: _spec_pb2.SpecDocument
    scenes: _frame_pb2.RunRef
    first_frame: int
    frame_count: int
    stride: int
    def __init__(self, spec: _Optional[_Union[_spec_pb2.SpecDocument, _Mapping]] = ..., scenes: _Optional[_Union[_frame_pb2.RunRef, _Mapping]] = ..., first_frame: _Optional[int] = ..., frame_count: _Optional[int] = ..., stride: _Optional[int] = ...) -> None: ...

class StreamFramesResponse(_message.Message):
    __slots__ = ("piece",)
    PIECE_FIELD_NUMBER: _ClassVar[int]
    piece: _frame_pb2.FramePiece
    def __init__(self, piece: _Optional[_Union[_frame_pb2.FramePiece, _Mapping]] = ...) -> None: ...
