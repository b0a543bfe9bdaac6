import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from simcloud.v1 import frame_pb2 as _frame_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_OPEN: _ClassVar[RunState]
    RUN_STATE_PUBLISHED: _ClassVar[RunState]
    RUN_STATE_ABORTED: _ClassVar[RunState]
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_OPEN: RunState
RUN_STATE_PUBLISHED: RunState
RUN_STATE_ABORTED: RunState

class ShardRange(_message.Message):
    __slots__ = ("shard", "first_frame", "end_frame")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    END_FRAME_FIELD_NUMBER: _ClassVar[int]
    shard: int
    first_frame: int
    end_frame: int
    def __init__(self, shard: _Optional[int] = ..., first_frame: _Optional[int] = ..., end_frame: _Optional[int] = ...) -> None: ...

class CommittedShard(_message.Message):
    __slots__ = ("range", "key", "etag", "size_bytes", "crc64nvme", "stored_frames", "quarantined_frames", "fingerprints", "already_committed")
    RANGE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CRC64NVME_FIELD_NUMBER: _ClassVar[int]
    STORED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINTS_FIELD_NUMBER: _ClassVar[int]
    ALREADY_COMMITTED_FIELD_NUMBER: _ClassVar[int]
    range: ShardRange
    key: str
    etag: str
    size_bytes: int
    crc64nvme: int
    stored_frames: int
    quarantined_frames: int
    fingerprints: _containers.RepeatedScalarFieldContainer[str]
    already_committed: bool
    def __init__(self, range: _Optional[_Union[ShardRange, _Mapping]] = ..., key: _Optional[str] = ..., etag: _Optional[str] = ..., size_bytes: _Optional[int] = ..., crc64nvme: _Optional[int] = ..., stored_frames: _Optional[int] = ..., quarantined_frames: _Optional[int] = ..., fingerprints: _Optional[_Iterable[str]] = ..., already_committed: bool = ...) -> None: ...

class RunSummary(_message.Message):
    __slots__ = ("run", "spec_digest", "state", "plan_generation", "planned_frames", "stored_frames", "quarantined_frames", "planned_shards", "committed_shards", "stored_bytes", "manifest_key", "create_time", "missing", "quarantined_by_rule", "problem")
    class QuarantinedByRuleEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    RUN_FIELD_NUMBER: _ClassVar[int]
    SPEC_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PLAN_GENERATION_FIELD_NUMBER: _ClassVar[int]
    PLANNED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    STORED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    PLANNED_SHARDS_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_SHARDS_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_BY_RULE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    run: _frame_pb2.RunRef
    spec_digest: str
    state: RunState
    plan_generation: int
    planned_frames: int
    stored_frames: int
    quarantined_frames: int
    planned_shards: int
    committed_shards: int
    stored_bytes: int
    manifest_key: str
    create_time: _timestamp_pb2.Timestamp
    missing: _containers.RepeatedCompositeFieldContainer[ShardRange]
    quarantined_by_rule: _containers.ScalarMap[str, int]
    problem: str
    def __init__(self, run: _Optional[_Union[_frame_pb2.RunRef, _Mapping]] = ..., spec_digest: _Optional[str] = ..., state: _Optional[_Union[RunState, str]] = ..., plan_generation: _Optional[int] = ..., planned_frames: _Optional[int] = ..., stored_frames: _Optional[int] = ..., quarantined_frames: _Optional[int] = ..., planned_shards: _Optional[int] = ..., committed_shards: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., manifest_key: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., missing: _Optional[_Iterable[_Union[ShardRange, _Mapping]]] = ..., quarantined_by_rule: _Optional[_Mapping[str, int]] = ..., problem: _Optional[str] = ...) -> None: ...
