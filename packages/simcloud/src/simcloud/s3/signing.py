"""The headers of a request that goes to S3 directly, signed as the SDK would sign them."""

from __future__ import annotations

from typing import Final

from simcloud import __version__
from simcloud.aws.sigv4 import Credentials, SigV4Signer
from simcloud.s3.addresses import Address
from simcloud.s3.wire import WireRequest

_USER_AGENT: Final = f"simcloud/{__version__}"


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
        path=address.path(key),
        query=request.query,
        headers=headers,
        body_sha256=payload,
        now_s=now_s,
    )
    headers["user-agent"] = _USER_AGENT
    if expect:
        headers["expect"] = expect
    return headers
