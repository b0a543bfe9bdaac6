"""S3's requests, and the answers to them, by botocore's own model. Pure.

Which parameter stands in which header or query field, and what of an answer is which result, is
read from the model; bodies of XML are written and read by botocore itself: nothing of that is
written down a second time here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses
from typing import Any, Final, cast
from urllib.parse import quote

from botocore.awsrequest import HeadersDict
from botocore.exceptions import ClientError
from botocore.handlers import decode_list_object_v2
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from simcloud.http.connection import Body
from simcloud.http.pool import HttpAnswer
from simcloud.s3.body import Pieces

SPOKEN: Final = frozenset(
    {
        "Body", "Bucket", "BucketKeyEnabled", "ChecksumAlgorithm", "ChecksumCRC64NVME",
        "ChecksumMode", "ChecksumType", "ContentLength", "ContentType", "ContinuationToken",
        "Delimiter", "EncodingType", "ExpectedBucketOwner", "IfMatch", "IfNoneMatch", "Key",
        "Metadata", "MpuObjectSize", "MultipartUpload", "ObjectLockLegalHoldStatus",
        "ObjectLockMode", "ObjectLockRetainUntilDate", "PartNumber", "PartNumberMarker", "Prefix",
        "Range", "RequestPayer", "SSEKMSKeyId", "ServerSideEncryption", "StartAfter",
        "StorageClass", "Tagging", "UploadId",
    }
)  # fmt: skip
"""Parameters that mean to the SDK what the model says; on others it has code of its own."""

_META: Final = "x-amz-meta-"
_LIST: Final = "ListObjectsV2"
# Both keep nothing between two calls.
_PARSER: Final = create_parser("rest-xml")
_SERIALIZER: Final = create_serializer("rest-xml")
# The beginning of a document whose root is Error, after what S3 sends to keep a connection open.
_ERROR: Final = re.compile(rb"\s*(?:<\?xml[^>]*\?>)?\s*<Error[\s>]")
# Visible ASCII with single blanks within: what stands in a header, and in its signature, as it is.
_PLAIN: Final = re.compile(r"(?! )(?:[\x21-\x7e]| (?! |\Z))*")
# Names of buckets, of the old kind too; neither an ARN nor an alias of an access point.
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request as it goes over the wire, without address and signature."""

    method: str
    query: str
    """Encoded, by name."""
    headers: dict[str, str]
    """Names in lower case."""
    body: Body


@dataclass(frozen=True, slots=True)
class _Field:
    member: str
    location: str
    name: str
    kind: str
    iso_time: bool

    @classmethod
    def of(cls, member: str, shape: Any) -> _Field:
        form = shape.serialization
        return cls(
            member,
            form.get("location", ""),
            form.get("name", ""),
            shape.type_name,
            form.get("timestampFormat") == "iso8601",
        )

    def text(self, value: object) -> str:
        """The value as it is sent.

        Raises:
            TypeError: it is none of the model's type, or takes more than to be written down.
        """
        if self.kind == "boolean" and isinstance(value, bool):
            return "true" if value else "false"
        if self.kind in {"integer", "long"} and isinstance(value, int):
            return str(value)
        if self.kind == "timestamp" and self.iso_time and isinstance(value, datetime):
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self.kind == "string" and isinstance(value, str):
            return str(value)
        raise TypeError(f"{self.member} is no plain {self.kind}: {type(value).__name__}")

    def value(self, text: str) -> object:
        """What the text of an answer means; None when it is nothing."""
        try:
            if self.kind in {"integer", "long"}:
                return int(text)
            if self.kind == "timestamp":
                return parsedate_to_datetime(text)
        except ValueError:
            return None
        return text == "true" if self.kind == "boolean" else text


class StoredBody:
    """An object's bytes, read as the SDK's stream of them is; they are here already."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    async def __aenter__(self) -> StoredBody:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._data = b""

    async def read(self, size: int | None = None) -> bytes:
        """The next ``size`` bytes, or all that are left."""
        begin = self._position
        end = len(self._data)
        if size is not None and size >= 0:
            end = min(begin + size, end)
        self._position = end
        return self._data[begin:end]


class Operation:
    """One of S3's operations.

    Args:
        model: botocore's (OperationModel; its stubs know nothing of a shape's members).
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.name: str = model.name
        self._method: str = model.http["method"]
        self.of_key: bool = "{Key" in model.http["requestUri"]
        """Whether it is about an object, or about its bucket."""
        # What says which operation it is where the method does not.
        _, _, named = model.http["requestUri"].partition("?")
        self._named = [part if "=" in part else f"{part}=" for part in named.split("&") if part]
        # Of an answer's body: the member that is given to the caller, if any.
        self._payload: str = model.output_shape.serialization.get("payload", "")
        # Of a request's body: the member that the SDK writes as XML, if any.
        self._document: str = ""
        sent = model.input_shape.serialization.get("payload", "")
        if sent and model.input_shape.members[sent].type_name == "structure":
            self._document = sent
        # A parameter by which the SDK computes a checksum of the body.
        computes = (model.http_checksum or {}).get("requestAlgorithmMember")
        self._inputs = {
            member: _Field.of(member, shape)
            for member, shape in model.input_shape.members.items()
            if member in SPOKEN and member != computes
        }
        outputs = [_Field.of(member, shape) for member, shape in model.output_shape.members.items()]
        self._outputs = {
            field.name.lower(): field for field in outputs if field.location == "header"
        }
        self._answers_xml = not self._payload and any(not field.location for field in outputs)

    def request(self, arguments: Mapping[str, Any]) -> WireRequest | None:
        """The request of a call; None when the SDK must make it.

        Args:
            arguments: the call's, by botocore's names, with what the settings add.
        """
        try:
            return self._request(arguments)
        except TypeError:
            # The SDK takes more, and says better what it does not take.
            return None

    def _request(self, arguments: Mapping[str, Any]) -> WireRequest | None:
        headers: dict[str, str] = {}
        query = list(self._named)
        body: Body | None = b""
        if self.name == _LIST:
            # As the SDK asks: XML can't say every key.
            arguments = {"EncodingType": "url", **arguments}
        for member, value in arguments.items():
            field = self._inputs.get(member)
            if field is None:
                return None
            match field.location:
                case "uri":
                    continue
                case "headers":
                    for name, text in value.items():
                        headers[f"{field.name}{name}".lower()] = text
                case "header":
                    headers[field.name.lower()] = field.text(value)
                case "querystring":
                    text = quote(field.text(value), safe="-_.~")
                    query.append(f"{quote(field.name, safe='-_.~')}={text}")
                case _:
                    body = self._xml(arguments) if member == self._document else _body(value)
        return self._checked(headers, query, body)

    def _checked(
        self, headers: dict[str, str], query: list[str], body: Body | None
    ) -> WireRequest | None:
        if body is None or not all(map(_PLAIN.fullmatch, (*headers, *headers.values()))):
            return None
        if isinstance(body, tuple):
            # What is refused then costs no more than its head; the SDK asks too.
            headers["expect"] = "100-continue"
        return WireRequest(self._method, "&".join(sorted(query)), headers, body)

    def _xml(self, arguments: Mapping[str, Any]) -> bytes:
        """The body by botocore.

        Raises:
            TypeError: the parameters are not the model's.
        """
        written = _SERIALIZER.serialize_to_request(dict(arguments), self.model)
        return cast("bytes", written["body"])

    def result(self, answer: HttpAnswer) -> dict[str, Any]:
        """What the SDK would return for an answer of 2xx.

        Raises:
            ClientError: it is an error.
            ResponseParserError: its XML was cut short.
        """
        if answer.status >= 300:
            raise self.error(answer)
        if not self._payload and (
            _is_error(answer.body) or (self._answers_xml and not answer.body)
        ):
            # What went wrong after the status was sent; the SDK takes it so too.
            raise self.error(answer._replace(status=500))
        if self._answers_xml:
            return self._read(answer)
        result: dict[str, Any] = {"ResponseMetadata": _metadata(answer)}
        metadata = {}
        for name, text in answer.headers.items():
            field = self._outputs.get(name)
            if field is not None:
                value = field.value(text)
                if value is not None:
                    result[field.member] = value
            elif name.startswith(_META):
                metadata[name.removeprefix(_META)] = text
        result["Metadata"] = metadata
        if self._payload:
            result[self._payload] = StoredBody(answer.body)
        return result

    def _read(self, answer: HttpAnswer) -> dict[str, Any]:
        """What stands in an answer's XML and in its headers.

        Raises:
            ResponseParserError: it was cut short.
        """
        parsed = self._parse(answer)
        if self.name == _LIST:
            decode_list_object_v2(parsed, {"encoding_type_auto_set": True})
        return parsed

    def _parse(self, answer: HttpAnswer) -> dict[str, Any]:
        parsed = _PARSER.parse(
            {
                "status_code": answer.status,
                "headers": HeadersDict(answer.headers),
                "body": answer.body,
            },
            self.model.output_shape,
        )
        return cast("dict[str, Any]", parsed)

    def error(self, answer: HttpAnswer) -> ClientError:
        """What the SDK would raise for an answer that is none of 2xx."""
        if answer.body:
            parsed = self._parse(answer)
        else:
            words = responses.get(answer.status, "")
            parsed = {
                "Error": {"Code": str(answer.status), "Message": words},
                "ResponseMetadata": _metadata(answer),
            }
        return ClientError(cast("Any", parsed), self.name)


def _is_error(body: bytes) -> bool:
    if not body:
        return False
    return _ERROR.match(body) is not None or not body.lstrip().startswith(b"<")


def path_of(key: str) -> str:
    """A key as it stands in a path, without the slash before it."""
    return quote(key, safe="/~")


def is_plain_bucket(bucket: str) -> bool:
    """Whether it is a bucket's name, and not an ARN."""
    return _BUCKET.fullmatch(bucket) is not None


def _body(value: object) -> Body | None:
    if isinstance(value, Pieces):
        return value.pieces
    return value if isinstance(value, bytes) else None


def _metadata(answer: HttpAnswer) -> dict[str, Any]:
    headers = answer.headers
    return {
        "HTTPStatusCode": answer.status,
        "HTTPHeaders": dict(headers),
        "RequestId": headers.get("x-amz-request-id", ""),
        "HostId": headers.get("x-amz-id-2", ""),
        "RetryAttempts": 0,
    }
