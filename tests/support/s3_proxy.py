"""A proxy in front of the real S3 server: faults on the wire, and servers that know less.

Requests and answers stream through unchanged, the client's signature included, so that the server
still checks it. Where something is changed on the way, the request is signed again.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from multidict import CIMultiDict
from yarl import URL

from simcloud.s3.client import S3Settings
from simcloud.s3.faults import Fault, FaultKind, FaultPlan

_HOP = frozenset({"connection", "expect", "keep-alive", "transfer-encoding"})
_CHUNK = 1 << 16
_PAGE_SIZES = {
    "list_objects_v2": "max-keys",
    "list_multipart_uploads": "max-uploads",
    "list_parts": "max-parts",
}
_SIGNER_CONFIG = Config(s3={"payload_signing_enabled": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignorance:
    """What the server behind the proxy does not know."""

    conditional_put: bool = False
    """``If-None-Match`` and ``If-Match`` of PutObject are ignored."""
    conditional_complete: bool = False
    """``If-None-Match`` of Complete is ignored, as by Ceph 16."""
    checksums: bool = False
    """CRC-64/NVME is neither checked nor kept, as by Ceph 16."""
    listings: bool = False
    """ListParts and ListMultipartUploads are answered with 501."""


@dataclass(slots=True)
class S3Proxy:
    """A running proxy."""

    upstream: S3Settings
    plan: FaultPlan = field(default_factory=FaultPlan)
    ignorance: Ignorance = field(default_factory=Ignorance)
    expired_key: str = ""
    """Access key id whose requests are answered with ExpiredToken."""
    signs_anew: bool = False
    """Take any other access key, and sign for the server with its own."""
    refused: int = 0
    """Requests with the expired key."""
    port: int = 0
    tls: ssl.SSLContext | None = None
    """How it is spoken to; None: in plain HTTP."""
    _session: aiohttp.ClientSession | None = None

    @property
    def settings(self) -> S3Settings:
        """Of a client of the proxy."""
        url = (
            f"http://127.0.0.1:{self.port}"
            if self.tls is None
            else f"https://localhost:{self.port}"
        )
        return self.upstream.model_copy(update={"endpoint_url": url})

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        if request.headers.get("Expect", "").lower() == "100-continue":
            # clients hold a body back until they are told that it is wanted
            assert request.transport is not None
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        operation, key = _operation(request)
        if self.expired_key and f"Credential={self.expired_key}/" in _authorization(request):
            await _drain(request)
            self.refused += 1
            return _error("ExpiredToken", 400)
        if self.ignorance.listings and operation in {"list_parts", "list_multipart_uploads"}:
            return _error("NotImplemented", 501)
        fault = self.plan.strike(operation, key)
        if fault is None:
            return await self._forward(request, operation, None)
        return await self._suffer(fault, request, operation)

    async def _suffer(
        self, fault: Fault, request: web.BaseRequest, operation: str
    ) -> web.StreamResponse:
        match fault.kind:
            case FaultKind.REFUSED:
                await _drain(request)
                return _error(fault.code, fault.status)
            case FaultKind.UNREACHABLE:
                raise _reset(request)
            case FaultKind.GATE:
                await fault.gate.wait()
                return await self._forward(request, operation, None)
            case FaultKind.GATE_WITHIN:
                await request.read()
                fault.held.set()
                await fault.gate.wait()
                answer = await self._answer(request, operation, fault)
                fault.done.set()
                return answer
            case (
                FaultKind.LOST_ANSWER
                | FaultKind.FAILED_AFTER
                | FaultKind.GATE_AFTER
                | FaultKind.HALF_ANSWER
            ):
                answer = await self._answer(request, operation)
                if fault.kind is FaultKind.HALF_ANSWER:
                    return _half(answer)
                if fault.kind is FaultKind.LOST_ANSWER:
                    raise _reset(request)
                if fault.kind is FaultKind.FAILED_AFTER:
                    return _error(fault.code, fault.status)
                await fault.gate.wait()
                return answer
            case _:
                return await self._forward(request, operation, fault)

    async def _answer(
        self, request: web.BaseRequest, operation: str, fault: Fault | None = None
    ) -> web.Response:
        """The server's answer, whole, before any of it goes to the client."""
        async with self._sent(request, operation, fault) as answer:
            body = await answer.read()
            return web.Response(status=answer.status, headers=_kept(answer.headers), body=body)

    async def _forward(
        self, request: web.BaseRequest, operation: str, fault: Fault | None
    ) -> web.StreamResponse:
        async with self._sent(request, operation, fault) as answer:
            headers = _kept(answer.headers)
            if self.ignorance.checksums:
                headers = CIMultiDict(item for item in headers.items() if not _is_checksum(item[0]))
            out = web.StreamResponse(status=answer.status, headers=headers)
            await out.prepare(request)
            if request.method != "HEAD":
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    await out.write(chunk)
            await out.write_eof()
            return out

    @asynccontextmanager
    async def _sent(
        self, request: web.BaseRequest, operation: str, fault: Fault | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        url = self.upstream.endpoint_url.rstrip("/") + request.raw_path
        headers = _kept(request.headers)
        data: AsyncIterator[bytes] | bytes | None = None
        if fault is not None and fault.kind is FaultKind.GATE_WITHIN:
            data = await request.read()
        elif request.can_read_body:
            data = _body(request, fault)
        changed = self._forget(headers, operation) or self.signs_anew
        if fault is not None and fault.kind is FaultKind.SHORT_PAGES:
            url += f"&{_PAGE_SIZES[operation]}=1"
            changed = True
        if self.ignorance.checksums and operation == "complete_multipart_upload":
            data = re.sub(rb"<Checksum[^>]*>[^<]*</Checksum[^>]*>", b"", await request.read())
            headers["Content-Length"] = str(len(data))
        if changed:
            headers = self._signed(request.method, url, headers)
        async with self._session.request(
            request.method,
            URL(url, encoded=True),
            headers=headers,
            data=data,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as answer:
            yield answer

    def _forget(self, headers: CIMultiDict[str], operation: str) -> bool:
        ignored = [
            name
            for name in headers
            if (self.ignorance.checksums and _is_checksum(name))
            or (
                name.lower() in {"if-none-match", "if-match"}
                and (
                    (operation == "put_object" and self.ignorance.conditional_put)
                    or (
                        operation == "complete_multipart_upload"
                        and self.ignorance.conditional_complete
                    )
                )
            )
        ]
        for name in ignored:
            headers.popall(name, None)
        return bool(ignored)

    def _signed(self, method: str, url: str, headers: CIMultiDict[str]) -> CIMultiDict[str]:
        for name in ("Authorization", "X-Amz-Date", "X-Amz-Content-SHA256", "X-Amz-Security-Token"):
            headers.popall(name, None)
        request = AWSRequest(method=method, url=url, headers=dict(headers))
        request.context["client_config"] = _SIGNER_CONFIG
        secret = self.upstream.secret_access_key.get_secret_value()
        credentials = Credentials(self.upstream.access_key_id, secret)
        S3SigV4Auth(credentials, "s3", self.upstream.region).add_auth(request)
        return CIMultiDict((str(name), str(value)) for name, value in request.headers.items())


@asynccontextmanager
async def running_proxy(
    upstream: S3Settings,
    *,
    plan: FaultPlan | None = None,
    ignorance: Ignorance | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[S3Proxy]:
    """A proxy that runs during the block, in this event loop, on a port of its own."""
    proxy = S3Proxy(upstream, plan or FaultPlan(), ignorance or Ignorance(), tls=tls)
    runner = web.ServerRunner(web.Server(proxy.handle), shutdown_timeout=1.0)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        proxy._session = session
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        proxy.port = int(runner.addresses[0][1])
        try:
            yield proxy
        finally:
            for fault in proxy.plan.faults:
                fault.gate.set()
            await runner.cleanup()


async def _body(request: web.BaseRequest, fault: Fault | None) -> AsyncIterator[bytes]:
    half = (request.content_length or 0) // 2
    sent = 0
    async for chunk in request.content.iter_chunked(_CHUNK):
        sent += len(chunk)
        if fault is not None and fault.kind is FaultKind.CUT and sent > half:
            raise _reset(request)
        if fault is not None and fault.kind is FaultKind.DAMAGED and sent == len(chunk):
            yield bytes([chunk[0] ^ 1]) + chunk[1:]
            continue
        if fault is not None and fault.kind is FaultKind.THROTTLED:
            await _wait(len(chunk) / fault.bytes_per_s)
        yield chunk


async def _drain(request: web.BaseRequest) -> None:
    async for _ in request.content.iter_chunked(_CHUNK):
        pass


async def _wait(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    timer = loop.call_later(seconds, over.set_result, None)
    try:
        await over
    finally:
        timer.cancel()


def _operation(request: web.BaseRequest) -> tuple[str, str]:
    """boto's name of the operation, and its key or prefix."""
    query = request.query
    key = request.path.lstrip("/").partition("/")[2]
    match request.method, bool(key):
        case "PUT", True:
            return ("upload_part" if "partNumber" in query else "put_object"), key
        case "POST", True:
            creates = "uploads" in query
            return ("create_multipart_upload" if creates else "complete_multipart_upload"), key
        case "POST", False:
            return "delete_objects", ""
        case "GET", True:
            return ("list_parts" if "uploadId" in query else "get_object"), key
        case "GET", False:
            uploads = "uploads" in query
            name = "list_multipart_uploads" if uploads else "list_objects_v2"
            return name, query.get("prefix", "")
        case "DELETE", True:
            return ("abort_multipart_upload" if "uploadId" in query else "delete_object"), key
        case "HEAD", True:
            return "head_object", key
        case "HEAD", False:
            return "head_bucket", ""
        case _:
            return "create_bucket", ""


def _authorization(request: web.BaseRequest) -> str:
    return request.headers.get("Authorization", "")


def _is_checksum(name: str) -> bool:
    return name.lower().startswith(("x-amz-checksum", "x-amz-sdk-checksum"))


def _kept(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(item for item in headers.items() if item[0].lower() not in _HOP)


def _half(answer: web.Response) -> web.Response:
    assert isinstance(answer.body, bytes)
    headers = CIMultiDict(
        item for item in answer.headers.items() if item[0].lower() != "content-length"
    )
    half = answer.body[: len(answer.body) // 2]
    return web.Response(status=answer.status, headers=headers, body=half)


def _reset(request: web.BaseRequest) -> ConnectionResetError:
    assert request.transport is not None
    request.transport.abort()
    return ConnectionResetError("injected")


def _error(code: str, status: int) -> web.Response:
    text = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")
