"""Where a bucket's requests go: never worked out here, but seen in the SDK's own first one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from botocore.awsrequest import AWSRequest
from botocore.utils import get_environ_proxies
from yarl import URL

from simcloud.http.pool import HttpAnswer, HttpPool, Place
from simcloud.s3.wire import is_plain_bucket, path_of

if TYPE_CHECKING:
    from simcloud.s3.client import S3Client

_MAX_BUCKETS: Final = 256
_SCOPE: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([a-z0-9-]+)/s3/aws4_request,")
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

    def path(self, key: str) -> str:
        """Where an object is, encoded; of no key, the bucket."""
        if key:
            return self.prefix + path_of(key)
        return self.prefix.rstrip("/") or "/"


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


class KnownBuckets:
    """Where the buckets are that the SDK has been to.

    Args:
        sdk: the raw client, whose handlers for the settings' parameters come before.
        pool: what goes there directly.
    """

    def __init__(self, sdk: S3Client, pool: HttpPool) -> None:
        self._pool = pool
        self.by_name: dict[str, tuple[Address, Place]] = {}
        """Whoever finds a bucket moved takes it out."""
        events = sdk.meta.events
        events.register("provide-client-params.s3.*", _note_meant)
        events.register_last("request-created.s3", self._note_sent)
        events.register("after-call.s3.*", self._learn)

    def _note_sent(self, request: AWSRequest, **_: object) -> None:
        bucket, key = request.context.get(_MEANT, ("", ""))
        if key and bucket not in self.by_name:
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
            if len(self.by_name) >= _MAX_BUCKETS:
                self.by_name.clear()
            self.by_name[bucket] = (
                address,
                self._pool.place(URL(address.url, encoded=True)),
            )


def is_elsewhere(answer: HttpAnswer, address: Address) -> bool:
    """Whether the bucket is not, or no more, where it was: the SDK follows."""
    region = answer.headers.get("x-amz-bucket-region", address.region)
    return 300 <= answer.status < 400 or (answer.status == 400 and region != address.region)


def _note_meant(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    if params.get("Key"):
        context[_MEANT] = (params["Bucket"], params["Key"])


def _authority(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    own = {"http": 80, "https": 443}[parts.scheme]
    return host if parts.port in {None, own} else f"{host}:{parts.port}"
