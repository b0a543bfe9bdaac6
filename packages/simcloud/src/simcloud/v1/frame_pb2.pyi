from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunRef(_message.Message):
    __slots__ = ("bucket", "prefix", "run")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    prefix: str
    run: str
    def __init__(self, bucket: _Optional[str] = ..., prefix: _Optional[str] = ..., run: _Optional[str] = ...) -> None: ...

class LayerHeader(_message.Message):
    __slots__ = ("annotator", "extension", "media_type", "size_bytes", "crc64nvme")
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CRC64NVME_FIELD_NUMBER: _ClassVar[int]
    annotator: str
    extension: str
    media_type: str
    size_bytes: int
    crc64nvme: int
    def __init__(self, annotator: _Optional[str] = ..., extension: _Optional[str] = ..., media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., crc64nvme: _Optional[int] = ...) -> None: ...

class FrameHeader(_message.Message):
    __slots__ = ("frame", "camera", "record", "layers")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    frame: int
    camera: str
    record: bytes
    layers: _containers.RepeatedCompositeFieldContainer[LayerHeader]
    def __init__(self, frame: _Optional[int] = ..., camera: _Optional[str] = ..., record: _Optional[bytes] = ..., layers: _Optional[_Iterable[_Union[LayerHeader, _Mapping]]] = ...) -> None: ...

class LayerChunk(_message.Message):
    __slots__ = ("layer", "data")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    layer: int
    data: bytes
    def __init__(self, layer: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class FramePiece(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: FrameHeader
    chunk: LayerChunk
    def __init__(self, header: _Optional[_Union[FrameHeader, _Mapping]] = ..., chunk: _Optional[_Union[LayerChunk, _Mapping]] = ...) -> None: ...

class FrameRef(_message.Message):
    __slots__ = ("bucket", "key", "etag", "offset", "length", "media_type")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    key: str
    etag: str
    offset: int
    length: int
    media_type: str
    def __init__(self, bucket: _Optional[str] = ..., key: _Optional[str] = ..., etag: _Optional[str] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., media_type: _Optional[str] = ...) -> None: ...
