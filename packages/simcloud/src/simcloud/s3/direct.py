"""The frequent requests of an upload without the SDK, which takes ten times as long for each.

Where a bucket is, and how its requests are signed, is never worked out here: the SDK's own first
request to it shows that, whatever endpoints, accounts and settings had a part in it. What is not
plain SigV4 over a direct connection, and every call with a parameter that is not in
``simcloud.s3.wire.SPOKEN``, stays with the SDK.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from botocore.awsrequest import AWSRequest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from yarl import URL

from simcloud import __version__
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
from simcloud.s3.requests import added, utc_now
from simcloud.s3.wire import Operation, WireRequest, is_plain_bucket, path_of

if TYPE_CHECKING:
    from simcloud.s3.client import S3Client, S3Settings

OPERATIONS: Final = ("GetObject", "HeadObject", "PutObject", "UploadPart")
"""What a shard needs for each of its parts, and what documents and records are read by."""

ANSWER_BYTES: Final = 8 << 20
"""Largest object, or range of one, that is read without the SDK: it is held whole."""
_USER_AGENT: Final = f"simcloud/{__version__}"
_KEEPALIVE_S: Final = 12.0
"""As aiobotocore: S3 closes idle connections after 20 s or so."""
_MAX_BUCKETS: Final = 256
_SCOPE: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([a-z0-9-]+)/s3/aws4_request,")
# An answer without a body has its status for a code: HEAD's of expired credentials.
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "400"}
)
# In the context that botocore hands through a call's events.
_MEANT: Final = "simcloud_meant"
_SENT: Final = "simcloud_sent"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a bucket's requests go, and for which region they are signed."""

    scheme: str
    authority: str
    """Host, and port unless it is the scheme's own."""
    prefix: str
    """What stands before a key in the path: a slash, or the bucket too."""
    region: str

    @property
    def url(self) -> str:
        """Scheme and authority."""
        return f"{self.scheme}://{self.authority}"


def address_of(request: AWSRequest, key: str) -> Address | None:
    """The address in a request that the SDK has signed; None: none that can be gone to directly.

    Args:
        request: of an operation on an object.
        key: the object's.
    """
    url = str(request.url)
    parts = urlsplit(url)
    scope = _SCOPE.match(str(request.headers.get("Authorization", "")))
    path = path_of(key)
    if scope is None or "x-amz-s3session-token" in request.headers or parts.username is not None:
        return None
    if not parts.path.endswith(f"/{path}") or get_environ_proxies(url).get(parts.scheme):
        return None
    prefix = parts.path[: len(parts.path) - len(path)]
    return Address(parts.scheme, _authority(parts), prefix, scope[1])


def signed_headers(
    request: WireRequest,
    *,
    address: Address,
    key: str,
    payload: str,
    signer: SigV4Signer,
    credentials: Credentials,
    now_s: float,
) -> dict[str, str]:
    """All headers of a request, the very ones that the SDK would send but for its own telemetry.

    Args:
        request: what is sent.
        address: where to.
        key: the object's.
        payload: hash of the body in hex, or ``UNSIGNED_PAYLOAD``.
        signer: of the address' region.
        credentials: whose request it is.
        now_s: seconds since the epoch.
    """
    headers = {"host": address.authority, "x-amz-content-sha256": payload, **request.headers}
    # What proxies may change is not signed, by the SDK neither.
    expect = headers.pop("expect", "")
    headers |= signer.sign(
        credentials=credentials,
        method=request.method,
        path=address.prefix + path_of(key),
        query=request.query,
        headers=headers,
        body_sha256=payload,
        now_s=now_s,
    )
    headers["user-agent"] = _USER_AGENT
    if expect:
        headers["expect"] = expect
    return headers


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
        self._buckets: dict[str, tuple[Address, Place]] = {}
        self._signers: dict[str, SigV4Signer] = {}
        service = sdk.meta.service_model
        self._operations = {name: Operation(service.operation_model(name)) for name in OPERATIONS}
        events = sdk.meta.events
        events.register("provide-client-params.s3.*", _note_meant)
        events.register_last("request-created.s3", self._note_sent)
        events.register("after-call.s3.*", self._learn)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sdk, name)

    async def get_object(self, **arguments: Any) -> Any:
        """S3's GetObject."""
        return await self._call("GetObject", self._sdk.get_object, arguments)

    async def head_object(self, **arguments: Any) -> Any:
        """S3's HeadObject."""
        return await self._call("HeadObject", self._sdk.head_object, arguments)

    async def put_object(self, **arguments: Any) -> Any:
        """S3's PutObject."""
        return await self._call("PutObject", self._sdk.put_object, arguments)

    async def upload_part(self, **arguments: Any) -> Any:
        """S3's UploadPart."""
        return await self._call("UploadPart", self._sdk.upload_part, arguments)

    async def _call(
        self, name: str, by_sdk: Callable[..., Awaitable[Any]], arguments: dict[str, Any]
    ) -> Any:
        bucket, key = arguments["Bucket"], arguments["Key"]
        known = self._buckets.get(bucket)
        operation = self._operations[name]
        request = None
        if known is not None and key and not _is_long(arguments.get("Range", "")):
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
        if _is_elsewhere(answer, known[0]):
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
            path = address.prefix + path_of(key)
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

        Over TLS nothing, where the body has a checksum: that is signed, and S3 compares it. Over
        plain HTTP the same as long as the settings allow it.
        """
        checked = "x-amz-checksum-crc64nvme" in request.headers
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

    def _note_sent(self, request: AWSRequest, **_: object) -> None:
        bucket, key = request.context.get(_MEANT, ("", ""))
        if key and bucket not in self._buckets:
            # Each time: a redirect has the request made anew.
            request.context[_SENT] = address_of(request, key)

    def _learn(self, http_response: Any, context: dict[str, Any], **_: object) -> None:
        """Remembers where a bucket is, once an answer has come from there."""
        bucket, _key = context.get(_MEANT, ("", ""))
        address = context.get(_SENT)
        if not isinstance(address, Address) or not is_plain_bucket(bucket):
            return
        # 403 too may come from a wrong place; of these two nobody but the bucket's own says one.
        if http_response.status_code < 300 or http_response.status_code in {404, 412}:
            if len(self._buckets) >= _MAX_BUCKETS:
                self._buckets.clear()
            self._buckets[bucket] = (
                address,
                self._pool.place(URL(address.url, encoded=True)),
            )


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


def _note_meant(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    if params.get("Key"):
        context[_MEANT] = (params["Bucket"], params["Key"])


def _authority(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    own = {"http": 80, "https": 443}[parts.scheme]
    return host if parts.port in {None, own} else f"{host}:{parts.port}"


def _is_long(span: str) -> bool:
    """Whether a Range asks for more than is held here: the SDK streams it."""
    begin, _, end = span.removeprefix("bytes=").partition("-")
    return begin.isdigit() and end.isdigit() and int(end) - int(begin) >= ANSWER_BYTES


def _is_elsewhere(answer: HttpAnswer, address: Address) -> bool:
    """Whether the bucket is not, or no more, where it was: the SDK follows."""
    region = answer.headers.get("x-amz-bucket-region", address.region)
    return 300 <= answer.status < 400 or (answer.status == 400 and region != address.region)


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
