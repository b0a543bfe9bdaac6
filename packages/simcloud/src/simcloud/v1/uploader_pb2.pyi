from simcloud.v1 import dataset_pb2 as _dataset_pb2
from simcloud.v1 import frame_pb2 as _frame_pb2
from simcloud.v1 import spec_pb2 as _spec_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateRunRequest(_message.Message):
    __slots__ = ("run", "spec", "plan", "provenance_json")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_JSON_FIELD_NUMBER: _ClassVar[int]
    run: _frame_pb2.RunRef
    spec: _spec_pb2.SpecDocument
    plan: _spec_pb2.PlanDocument
    provenance_json: bytes
    def __init__(self, run: _Optional[_Union[_frame_pb2.RunRef, _Mapping]] = ..., spec: _Optional[_Union[_spec_pb2.SpecDocument, _Mapping]] = ..., plan: _Optional[_Union[_spec_pb2.PlanDocument, _Mapping]] = ..., provenance_json: _Optional[bytes] = ...) -> None: ...

class CreateRunResponse(_message.Message):
    __slots__ = ("created", "plan_generation", "shards", "committed")
    CREATED_FIELD_NUMBER: _ClassVar[int]
    PLAN_GENERATION_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    created: bool
    plan_generation: int
    shards: _containers.RepeatedCompositeFieldContainer[_dataset_pb2.ShardRange]
    committed: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, created: bool = ..., plan_generation: _Optional[int] = ..., shards: _Optional[_Iterable[_Union[_dataset_pb2.ShardRange, _Mapping]]] = ..., committed: _Optional[_Iterable[int]] = ...) -> None: ...

class UploadShardRequest(_message.Message):
    __slots__ = ("open", "frame", "chunk", "commit")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    open: OpenShard
    frame: _frame_pb2.FrameHeader
    chunk: _frame_pb2.LayerChunk
    commit: CommitShard
    def __init__(self, open: _Optional[_Union[OpenShard, _Mapping]] = ..., frame: _Optional[_Union[_frame_pb2.FrameHeader, _Mapping]] = ..., chunk: _Optional[_Union[_frame_pb2.LayerChunk, _Mapping]] = ..., commit: _Optional[_Union[CommitShard, _Mapping]] = ...) -> None: ...

class OpenShard(_message.Message):
    __slots__ = ("run", "range", "spec_digest", "fingerprint", "max_frame_bytes", "allow_mixed_fingerprints", "writer")
    RUN_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    SPEC_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    ALLOW_MIXED_FINGERPRINTS_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    run: _frame_pb2.RunRef
    range: _dataset_pb2.ShardRange
    spec_digest: str
    fingerprint: str
    max_frame_bytes: int
    allow_mixed_fingerprints: bool
    writer: str
    def __init__(self, run: _Optional[_Union[_frame_pb2.RunRef, _Mapping]] = ..., range: _Optional[_Union[_dataset_pb2.ShardRange, _Mapping]] = ..., spec_digest: _Optional[str] = ..., fingerprint: _Optional[str] = ..., max_frame_bytes: _Optional[int] = ..., allow_mixed_fingerprints: bool = ..., writer: _Optional[str] = ...) -> None: ...

class CommitShard(_message.Message):
    __slots__ = ("frame_count",)
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    frame_count: int
    def __init__(self, frame_count: _Optional[int] = ...) -> None: ...

class UploadShardResponse(_message.Message):
    __slots__ = ("opened", "credit", "durable", "restart", "committed")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    opened: ShardOpened
    credit: Credit
    durable: DurableMark
    restart: RestartShard
    committed: _dataset_pb2.CommittedShard
    def __init__(self, opened: _Optional[_Union[ShardOpened, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., durable: _Optional[_Union[DurableMark, _Mapping]] = ..., restart: _Optional[_Union[RestartShard, _Mapping]] = ..., committed: _Optional[_Union[_dataset_pb2.CommittedShard, _Mapping]] = ...) -> None: ...

class ShardOpened(_message.Message):
    __slots__ = ("epoch", "resume_frame", "part_size_bytes")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RESUME_FRAME_FIELD_NUMBER: _ClassVar[int]
    PART_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    resume_frame: int
    part_size_bytes: int
    def __init__(self, epoch: _Optional[int] = ..., resume_frame: _Optional[int] = ..., part_size_bytes: _Optional[int] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("granted_bytes",)
    GRANTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    granted_bytes: int
    def __init__(self, granted_bytes: _Optional[int] = ...) -> None: ...

class DurableMark(_message.Message):
    __slots__ = ("durable_before",)
    DURABLE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    durable_before: int
    def __init__(self, durable_before: _Optional[int] = ...) -> None: ...

class RestartShard(_message.Message):
    __slots__ = ("resume_frame", "reason")
    RESUME_FRAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    resume_frame: int
    reason: str
    def __init__(self, resume_frame: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class PublishRunRequest(_message.Message):
    __slots__ = ("run", "provenance_json")
    RUN_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_JSON_FIELD_NUMBER: _ClassVar[int]
    run: _frame_pb2.RunRef
    provenance_json: bytes
    def __init__(self, run: _Optional[_Union[_frame_pb2.RunRef, _Mapping]] = ..., provenance_json: _Optional[bytes] = ...) -> None: ...

class PublishRunResponse(_message.Message):
    __slots__ = ("summary", "created")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    summary: _dataset_pb2.RunSummary
    created: bool
    def __init__(self, summary: _Optional[_Union[_dataset_pb2.RunSummary, _Mapping]] = ..., created: bool = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: _frame_pb2.RunRef
    def __init__(self, run: _Optional[_Union[_frame_pb2.RunRef, _Mapping]] = ...) -> None: ...

class GetRunResponse(_message.Message):
    __slots__ = ("summary", "spec", "plan")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    summary: _dataset_pb2.RunSummary
    spec: _spec_pb2.SpecDocument
    plan: _spec_pb2.PlanDocument
    def __init__(self, summary: _Optional[_Union[_dataset_pb2.RunSummary, _Mapping]] = ..., spec: _Optional[_Union[_spec_pb2.SpecDocument, _Mapping]] = ..., plan: _Optional[_Union[_spec_pb2.PlanDocument, _Mapping]] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("bucket", "prefix", "page_size", "page_token")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    prefix: str
    page_size: int
    page_token: str
    def __init__(self, bucket: _Optional[str] = ..., prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[_dataset_pb2.RunSummary]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[_dataset_pb2.RunSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AbortRunRequest(_message.Message):
    __slots__ = ("run", "reason", "purge")
    RUN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PURGE_FIELD_NUMBER: _ClassVar[int]
    run: _frame_pb2.RunRef
    reason: str
    purge: bool
    def __init__(self, run: _Optional[_Union[_frame_pb2.RunRef, _Mapping]] = ..., reason: _Optional[str] = ..., purge: bool = ...) -> None: ...

class AbortRunResponse(_message.Message):
    __slots__ = ("stopped_shards", "aborted_uploads", "deleted_objects")
    STOPPED_SHARDS_FIELD_NUMBER: _ClassVar[int]
    ABORTED_UPLOADS_FIELD_NUMBER: _ClassVar[int]
    DELETED_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    stopped_shards: int
    aborted_uploads: int
    deleted_objects: int
    def __init__(self, stopped_shards: _Optional[int] = ..., aborted_uploads: _Optional[int] = ..., deleted_objects: _Optional[int] = ...) -> None: ...
