"""The requests of an upload without the SDK, which takes four times as long for each.

Where a bucket is, and how its requests are signed, is never worked out here: the SDK's own first
request to it shows that, whatever endpoints, accounts and settings had a part in it. What is not
plain SigV4 over a direct connection, and every call with a parameter that is not in
``simcloud.s3.wire.SPOKEN``, stays with the SDK.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)
from botocore.httpsession import get_cert_path

from simcloud.aws.credentials import CredentialSource
from simcloud.aws.sigv4 import UNSIGNED_PAYLOAD, Credentials, SigV4Signer, hash_body
from simcloud.clock import Clock
from simcloud.errors import Unauthenticated
from simcloud.http.errors import (
    AnswerTooLarge,
    ConnectionBroken,
    HttpFailure,
    NotConnected,
    TimeIsUp,
)
from simcloud.http.pool import HttpAnswer, HttpPool, Place, open_pool
from simcloud.http.tls import client_tls
from simcloud.s3.addresses import Address, KnownBuckets, is_elsewhere
from simcloud.s3.requests import added, utc_now
from simcloud.s3.signing import signed_headers
from simcloud.s3.wire import Operation, WireRequest

if TYPE_CHECKING:
    from simcloud.s3.client import S3Client, S3Settings

OPERATIONS: Final = (
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CreateMultipartUpload",
    "GetObject",
    "HeadObject",
    "ListObjectsV2",
    "ListParts",
    "PutObject",
    "UploadPart",
)
"""All that a shard needs."""

ANSWER_BYTES: Final = 8 << 20
"""Largest object, or range of one, that is read without the SDK: it is held whole."""
_KEEPALIVE_S: Final = 12.0
"""As aiobotocore: S3 closes idle connections after 20 s or so."""
# An answer without a body has its status for a code: HEAD's of expired credentials.
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "400"}
)


class DirectClient:
    """The SDK's client, but for ``OPERATIONS`` on buckets that it has been to.

    Answers and errors are the SDK's in form. From ``open_direct``.

    Args:
        sdk: the raw client.
        settings: what it was made with.
        pool: connections.
        credentials: those of the raw client.
        clock: time for signatures.
    """

    def __init__(
        self,
        sdk: S3Client,
        *,
        settings: S3Settings,
        pool: HttpPool,
        credentials: CredentialSource,
        clock: Clock,
    ) -> None:
        self._sdk = sdk
        self._settings = settings
        self._pool = pool
        self._credentials = credentials
        self._clock = clock
        self._room = asyncio.Semaphore(settings.max_connections)
        self._buckets = KnownBuckets(sdk, pool).by_name
        self._signers: dict[str, SigV4Signer] = {}
        service = sdk.meta.service_model
        self._operations = {name: Operation(service.operation_model(name)) for name in OPERATIONS}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sdk, name)

    async def abort_multipart_upload(self, **arguments: Any) -> Any:
        """S3's AbortMultipartUpload."""
        return await self._call("AbortMultipartUpload", self._sdk.abort_multipart_upload, arguments)

    async def complete_multipart_upload(self, **arguments: Any) -> Any:
        """S3's CompleteMultipartUpload."""
        return await self._call(
            "CompleteMultipartUpload", self._sdk.complete_multipart_upload, arguments
        )

    async def create_multipart_upload(self, **arguments: Any) -> Any:
        """S3's CreateMultipartUpload."""
        return await self._call(
            "CreateMultipartUpload", self._sdk.create_multipart_upload, arguments
        )

    async def get_object(self, **arguments: Any) -> Any:
        """S3's GetObject."""
        return await self._call("GetObject", self._sdk.get_object, arguments)

    async def head_object(self, **arguments: Any) -> Any:
        """S3's HeadObject."""
        return await self._call("HeadObject", self._sdk.head_object, arguments)

    async def list_objects_v2(self, **arguments: Any) -> Any:
        """S3's ListObjectsV2."""
        return await self._call("ListObjectsV2", self._sdk.list_objects_v2, arguments)

    async def list_parts(self, **arguments: Any) -> Any:
        """S3's ListParts."""
        return await self._call("ListParts", self._sdk.list_parts, arguments)

    async def put_object(self, **arguments: Any) -> Any:
        """S3's PutObject."""
        return await self._call("PutObject", self._sdk.put_object, arguments)

    async def upload_part(self, **arguments: Any) -> Any:
        """S3's UploadPart."""
        return await self._call("UploadPart", self._sdk.upload_part, arguments)

    async def _call(
        self, name: str, by_sdk: Callable[..., Awaitable[Any]], arguments: dict[str, Any]
    ) -> Any:
        operation = self._operations[name]
        bucket, key = arguments["Bucket"], arguments.get("Key", "")
        known = self._buckets.get(bucket)
        request = None
        meant = bool(key) or not operation.of_key
        if known is not None and meant and not _is_long(arguments.get("Range", "")):
            more = added(self._settings, operation.model, arguments, now=utc_now())
            request = operation.request({**arguments, **more})
        if known is None or request is None:
            return await by_sdk(**arguments)
        credentials = self._credentials.known()
        if credentials is None:
            try:
                credentials = await self._credentials.current()
            except Unauthenticated:
                # Who has none, and why, is the SDK's to say.
                return await by_sdk(**arguments)
        try:
            answer = await self._send(known, key, request, credentials)
        except AnswerTooLarge:
            return await by_sdk(**arguments)
        if is_elsewhere(answer, known[0]):
            self._buckets.pop(bucket, None)
            return await by_sdk(**arguments)
        try:
            return operation.result(answer)
        except ClientError as error:
            if error.response["Error"]["Code"] in _EXPIRED:
                # For the next try, which is the caller's.
                await self._credentials.renew(credentials)
            raise

    async def _send(
        self,
        known: tuple[Address, Place],
        key: str,
        request: WireRequest,
        credentials: Credentials,
    ) -> HttpAnswer:
        address, place = known
        payload = await self._payload(request, tls=place.tls)
        async with self._room:
            headers = signed_headers(
                request,
                address=address,
                key=key,
                payload=payload,
                signer=self._signer(address.region),
                credentials=credentials,
                now_s=self._clock.time(),
            )
            path = address.path(key)
            try:
                return await self._pool.request(
                    place,
                    method=request.method,
                    target=f"{path}?{request.query}" if request.query else path,
                    headers=headers,
                    body=request.body,
                    timeout_s=self._settings.read_timeout_s,
                    silence=True,
                )
            except HttpFailure as failure:
                if isinstance(failure, AnswerTooLarge) and request.method == "GET":
                    # It changes nothing, and may be asked again.
                    raise
                raise _sdk_error(failure, f"{address.url}{path}") from failure

    async def _payload(self, request: WireRequest, *, tls: bool) -> str:
        """What the signature says of the body.

        Over TLS nothing, where the body has a checksum: that is signed, and S3 compares it. (The
        checksum of a Complete is the object's, not its body's.) Over plain HTTP the same as long as
        the settings allow it.
        """
        checked = request.method == "PUT" and "x-amz-checksum-crc64nvme" in request.headers
        unsigned = checked if tls else self._settings.unsigned_payload_over_http
        if unsigned:
            return UNSIGNED_PAYLOAD
        body = request.body
        return await hash_body(*((body,) if isinstance(body, bytes) else body))

    def _signer(self, region: str) -> SigV4Signer:
        signer = self._signers.get(region)
        if signer is None:
            signer = self._signers[region] = SigV4Signer(region=region, service="s3")
        return signer


@asynccontextmanager
async def open_direct(
    sdk: S3Client,
    settings: S3Settings,
    *,
    credentials: CredentialSource,
    ca_bundle: str | None,
    clock: Clock,
) -> AsyncIterator[DirectClient]:
    """The client with its connections, closed on exit.

    Args:
        sdk: the raw client, whose handlers for the settings' parameters come before.
        settings: what it was made with.
        credentials: the raw client's.
        ca_bundle: file of authorities in place of the SDK's own; None: these.
        clock: time for signatures.
    """
    if settings.endpoint_url.startswith("http://"):
        # Never used; one that trusts nobody costs nothing to make.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        # As botocore: its setting, then that of requests, then its own authorities.
        file = ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True)
        tls = await asyncio.to_thread(client_tls, file)
    async with open_pool(
        connect_timeout_s=settings.connect_timeout_s,
        keepalive_s=_KEEPALIVE_S,
        max_answer_bytes=ANSWER_BYTES,
        tls=tls,
    ) as pool:
        yield DirectClient(sdk, settings=settings, pool=pool, credentials=credentials, clock=clock)


def _is_long(span: str) -> bool:
    """Whether a Range asks for more than is held here: the SDK streams it."""
    begin, _, end = span.removeprefix("bytes=").partition("-")
    return begin.isdigit() and end.isdigit() and int(end) - int(begin) >= ANSWER_BYTES


def _sdk_error(failure: HttpFailure, url: str) -> Exception:
    match failure:
        case NotConnected():
            return EndpointConnectionError(endpoint_url=f"{url}: {failure}")
        case TimeIsUp():
            return ReadTimeoutError(endpoint_url=url)
        case ConnectionBroken():
            return ConnectionClosedError(endpoint_url=f"{url}: {failure}")
        case _:
            return HTTPClientError(error=f"{type(failure).__name__}: {failure}")
