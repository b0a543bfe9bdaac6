import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from simcloud.v1 import frame_pb2 as _frame_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InferRequest(_message.Message):
    __slots__ = ("open", "frame")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    open: OpenInfer
    frame: InferFrame
    def __init__(self, open: _Optional[_Union[OpenInfer, _Mapping]] = ..., frame: _Optional[_Union[InferFrame, _Mapping]] = ...) -> None: ...

class OpenInfer(_message.Message):
    __slots__ = ("model", "version", "accept", "unordered", "parameters")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_FIELD_NUMBER: _ClassVar[int]
    UNORDERED_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    accept: str
    unordered: bool
    parameters: _containers.ScalarMap[str, str]
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., accept: _Optional[str] = ..., unordered: bool = ..., parameters: _Optional[_Mapping[str, str]] = ...) -> None: ...

class InferFrame(_message.Message):
    __slots__ = ("id", "inline", "ref")
    ID_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    REF_FIELD_NUMBER: _ClassVar[int]
    id: str
    inline: InlinePicture
    ref: _frame_pb2.FrameRef
    def __init__(self, id: _Optional[str] = ..., inline: _Optional[_Union[InlinePicture, _Mapping]] = ..., ref: _Optional[_Union[_frame_pb2.FrameRef, _Mapping]] = ...) -> None: ...

class InlinePicture(_message.Message):
    __slots__ = ("media_type", "data")
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    media_type: str
    data: bytes
    def __init__(self, media_type: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class InferResponse(_message.Message):
    __slots__ = ("opened", "credit", "answer")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    opened: InferOpened
    credit: InferCredit
    answer: InferAnswer
    def __init__(self, opened: _Optional[_Union[InferOpened, _Mapping]] = ..., credit: _Optional[_Union[InferCredit, _Mapping]] = ..., answer: _Optional[_Union[InferAnswer, _Mapping]] = ...) -> None: ...

class InferOpened(_message.Message):
    __slots__ = ("version", "model_digest")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    version: str
    model_digest: str
    def __init__(self, version: _Optional[str] = ..., model_digest: _Optional[str] = ...) -> None: ...

class InferCredit(_message.Message):
    __slots__ = ("granted_frames",)
    GRANTED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    granted_frames: int
    def __init__(self, granted_frames: _Optional[int] = ...) -> None: ...

class InferAnswer(_message.Message):
    __slots__ = ("id", "code", "reason", "message", "retryable", "media_type", "body", "target", "attempts", "timings")
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    id: str
    code: int
    reason: str
    message: str
    retryable: bool
    media_type: str
    body: bytes
    target: str
    attempts: int
    timings: InferTimings
    def __init__(self, id: _Optional[str] = ..., code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., retryable: bool = ..., media_type: _Optional[str] = ..., body: _Optional[bytes] = ..., target: _Optional[str] = ..., attempts: _Optional[int] = ..., timings: _Optional[_Union[InferTimings, _Mapping]] = ...) -> None: ...

class InferTimings(_message.Message):
    __slots__ = ("queue", "fetch", "target", "total")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    FETCH_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    queue: _duration_pb2.Duration
    fetch: _duration_pb2.Duration
    target: _duration_pb2.Duration
    total: _duration_pb2.Duration
    def __init__(self, queue: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., fetch: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., target: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., total: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelDescription]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelDescription, _Mapping]]] = ...) -> None: ...

class ModelDescription(_message.Message):
    __slots__ = ("name", "versions", "digest", "task", "labels", "targets")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    name: str
    versions: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    task: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    targets: _containers.RepeatedCompositeFieldContainer[TargetDescription]
    def __init__(self, name: _Optional[str] = ..., versions: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ..., task: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., targets: _Optional[_Iterable[_Union[TargetDescription, _Mapping]]] = ...) -> None: ...

class TargetDescription(_message.Message):
    __slots__ = ("name", "kind", "ready", "weight", "in_flight", "limit", "tier", "ejected", "role")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    EJECTED_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    ready: bool
    weight: float
    in_flight: int
    limit: int
    tier: int
    ejected: bool
    role: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., ready: bool = ..., weight: _Optional[float] = ..., in_flight: _Optional[int] = ..., limit: _Optional[int] = ..., tier: _Optional[int] = ..., ejected: bool = ..., role: _Optional[str] = ...) -> None: ...

class GetStatisticsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetStatisticsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelCounts]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelCounts, _Mapping]]] = ...) -> None: ...

class ModelCounts(_message.Message):
    __slots__ = ("model", "requests", "succeeded", "failed", "retries", "request_bytes", "response_bytes", "target_time", "queue_time", "hedges", "hedges_won", "retry_budget_exhausted", "canary_requests", "shadow", "executions", "batched_requests", "batches_sent_apart")
    class FailedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TARGET_TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIME_FIELD_NUMBER: _ClassVar[int]
    HEDGES_FIELD_NUMBER: _ClassVar[int]
    HEDGES_WON_FIELD_NUMBER: _ClassVar[int]
    RETRY_BUDGET_EXHAUSTED_FIELD_NUMBER: _ClassVar[int]
    CANARY_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    BATCHED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_SENT_APART_FIELD_NUMBER: _ClassVar[int]
    model: str
    requests: int
    succeeded: int
    failed: _containers.ScalarMap[str, int]
    retries: int
    request_bytes: int
    response_bytes: int
    target_time: _duration_pb2.Duration
    queue_time: _duration_pb2.Duration
    hedges: int
    hedges_won: int
    retry_budget_exhausted: int
    canary_requests: int
    shadow: ShadowCounts
    executions: int
    batched_requests: int
    batches_sent_apart: int
    def __init__(self, model: _Optional[str] = ..., requests: _Optional[int] = ..., succeeded: _Optional[int] = ..., failed: _Optional[_Mapping[str, int]] = ..., retries: _Optional[int] = ..., request_bytes: _Optional[int] = ..., response_bytes: _Optional[int] = ..., target_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., queue_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., hedges: _Optional[int] = ..., hedges_won: _Optional[int] = ..., retry_budget_exhausted: _Optional[int] = ..., canary_requests: _Optional[int] = ..., shadow: _Optional[_Union[ShadowCounts, _Mapping]] = ..., executions: _Optional[int] = ..., batched_requests: _Optional[int] = ..., batches_sent_apart: _Optional[int] = ...) -> None: ...

class ShadowCounts(_message.Message):
    __slots__ = ("target", "sent", "dropped", "agreed", "differed", "failed", "incomparable", "matched", "missing", "extra")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    DIFFERED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    INCOMPARABLE_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    target: str
    sent: int
    dropped: int
    agreed: int
    differed: int
    failed: int
    incomparable: int
    matched: int
    missing: int
    extra: int
    def __init__(self, target: _Optional[str] = ..., sent: _Optional[int] = ..., dropped: _Optional[int] = ..., agreed: _Optional[int] = ..., differed: _Optional[int] = ..., failed: _Optional[int] = ..., incomparable: _Optional[int] = ..., matched: _Optional[int] = ..., missing: _Optional[int] = ..., extra: _Optional[int] = ...) -> None: ...
