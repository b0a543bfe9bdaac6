"""An S3 that keeps what is small and drops large parts: a sink that costs next to nothing.

Beside a real server it shows what the uploader itself allows: a part's bytes are read and let go
of, nothing is summed or stored. Conditions, checksums and listings are honoured as far as the
uploader looks whether they are. Prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Final
from xml.sax.saxutils import escape

import uvloop
from aiohttp import web

from simcloud.s3.checksums import crc64nvme, to_base64

_CHECKSUM: Final = "x-amz-checksum-crc64nvme"
_SMALL_BYTES: Final = 64 * 1024
_THEN: Final = "2026-01-01T00:00:00.000Z"
_META: Final = "x-amz-meta-"
_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>'


@dataclass(slots=True)
class Kept:
    """One object, or an upload that becomes one."""

    size: int
    etag: str
    headers: dict[str, str]
    body: bytes = b""
    changed: str = field(default_factory=lambda: formatdate(usegmt=True))


def _error(status: int, code: str) -> web.Response:
    body = f"{_XML}<Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return web.Response(status=status, text=body, content_type="application/xml")


@dataclass(slots=True)
class Upload:
    """One that is under way: its headers, and the size of each part."""

    key: str
    headers: dict[str, str]
    parts: dict[int, tuple[int, str]] = field(default_factory=dict)


class NullS3:
    """Its objects, by bucket and key."""

    def __init__(self) -> None:
        self._objects: dict[str, Kept] = {}
        self._uploads: dict[str, Upload] = {}
        self._made = 0

    def _etag(self) -> str:
        self._made += 1
        return f'"{self._made:032x}"'

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        bucket, _, key = request.path.lstrip("/").partition("/")
        if not key:
            return await self._of_bucket(bucket, request)
        path, query = f"{bucket}/{key}", request.query
        if request.method == "PUT" and "partNumber" in query:
            return await self._part(request)
        if request.method == "PUT":
            return await self._put(path, request)
        if request.method == "POST" and "uploads" in query:
            return self._create(path, request)
        if request.method == "POST":
            return await self._complete(path, request)
        if request.method == "DELETE":
            self._uploads.pop(query.get("uploadId", ""), None)
            return web.Response(status=204)
        if "uploadId" in query:
            return self._parts(request)
        return self._get(path, request)

    async def _part(self, request: web.Request) -> web.Response:
        size, small = request.content_length or 0, b""
        async for data in request.content.iter_any():
            small = small + data if size <= _SMALL_BYTES else b""
        told = request.headers.get(_CHECKSUM)
        if small and told is not None and told != to_base64(crc64nvme(small)):
            return _error(400, "BadDigest")
        etag, number = self._etag(), int(request.query["partNumber"])
        self._uploads[request.query["uploadId"]].parts[number] = (size, etag)
        return web.Response(headers={"ETag": etag})

    async def _put(self, path: str, request: web.Request) -> web.Response:
        body, old = await request.read(), self._objects.get(path)
        wanted = request.headers.get("If-Match")
        if (old is not None and "If-None-Match" in request.headers) or (
            wanted is not None and (old is None or old.etag != wanted)
        ):
            return _error(412, "PreconditionFailed")
        kept = Kept(len(body), self._etag(), _kept_headers(request), body)
        self._objects[path] = kept
        return web.Response(headers={"ETag": kept.etag})

    def _create(self, path: str, request: web.Request) -> web.Response:
        upload = self._etag().strip('"')
        self._uploads[upload] = Upload(path.partition("/")[2], _kept_headers(request))
        return _xml(
            f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>"
            "</InitiateMultipartUploadResult>"
        )

    async def _complete(self, path: str, request: web.Request) -> web.Response:
        await request.read()
        if path in self._objects:
            return _error(412, "PreconditionFailed")
        upload = self._uploads.pop(request.query["uploadId"])
        headers = {**upload.headers, **_kept_headers(request)}
        kept = Kept(int(request.headers["x-amz-mp-object-size"]), self._etag(), headers)
        self._objects[path] = kept
        return _xml(
            f"<CompleteMultipartUploadResult><ETag>{escape(kept.etag)}</ETag>"
            "</CompleteMultipartUploadResult>"
        )

    def _get(self, path: str, request: web.Request) -> web.Response:
        kept = self._objects.get(path)
        if kept is None:
            return _error(404, "NoSuchKey")
        headers = {
            **kept.headers,
            "ETag": kept.etag,
            "Last-Modified": kept.changed,
            "x-amz-checksum-type": "FULL_OBJECT",
        }
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(kept.size)})
        part = request.http_range
        if part.start is None and part.stop is None:
            return web.Response(headers=headers, body=kept.body)
        first, stop, _ = part.indices(kept.size)
        headers["Content-Range"] = f"bytes {first}-{stop - 1}/{kept.size}"
        return web.Response(status=206, headers=headers, body=kept.body[first:stop])

    def _parts(self, request: web.Request) -> web.Response:
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size>"
            f"<ETag>{escape(etag)}</ETag></Part>"
            for number, (size, etag) in self._uploads[request.query["uploadId"]].parts.items()
        )
        return _listing("ListPartsResult", rows)

    async def _of_bucket(self, bucket: str, request: web.Request) -> web.Response:
        if request.method == "POST":
            await request.read()
            return _xml("<DeleteResult></DeleteResult>")
        if request.method != "GET":
            return web.Response()
        prefix = request.query.get("prefix", "")
        if "uploads" in request.query:
            rows = "".join(
                f"<Upload><Key>{escape(upload.key)}</Key><UploadId>{name}</UploadId>"
                f"<Initiated>{_THEN}</Initiated></Upload>"
                for name, upload in self._uploads.items()
                if upload.key.startswith(prefix)
            )
            return _listing("ListMultipartUploadsResult", rows)
        after = f"{bucket}/{request.query.get('start-after', '')}"
        rows = "".join(
            f"<Contents><Key>{escape(path.partition('/')[2])}</Key><Size>{kept.size}</Size>"
            f"<ETag>{escape(kept.etag)}</ETag><LastModified>{_THEN}</LastModified></Contents>"
            for path, kept in sorted(self._objects.items())
            if path.startswith(f"{bucket}/{prefix}") and path > after
        )
        return _listing("ListBucketResult", rows)


def _listing(name: str, rows: str) -> web.Response:
    return _xml(f"<{name}><IsTruncated>false</IsTruncated>{rows}</{name}>")


def _kept_headers(request: web.Request) -> dict[str, str]:
    return {
        name: value
        for name, value in request.headers.items()
        if name.lower().startswith(_META) or name.lower() == _CHECKSUM
    }


def _xml(body: str) -> web.Response:
    return web.Response(text=_XML + body, content_type="application/xml")


async def main() -> None:
    """Serves until it is ended."""
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", NullS3().handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f'{{"port": {runner.addresses[0][1]}}}\n')
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
