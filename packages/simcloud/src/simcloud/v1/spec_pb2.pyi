from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class SpecDocument(_message.Message):
    __slots__ = ("canonical_json", "digest")
    CANONICAL_JSON_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    canonical_json: bytes
    digest: str
    def __init__(self, canonical_json: _Optional[bytes] = ..., digest: _Optional[str] = ...) -> None: ...

class PlanDocument(_message.Message):
    __slots__ = ("canonical_json",)
    CANONICAL_JSON_FIELD_NUMBER: _ClassVar[int]
    canonical_json: bytes
    def __init__(self, canonical_json: _Optional[bytes] = ...) -> None: ...
