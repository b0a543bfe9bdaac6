"""Verifies AWS Signature Version 4, as the runtime front-end does before it invokes a container.

Off unless credentials are set. It stands here, not in a test, so that a local stack whose clients
sign is checked by the same process that it invokes: a wrong signature fails on the laptop as it
would on AWS. Canonical form as AWS documents it for every service but S3: the path is normalized
and encoded once more.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from simcloud_model_container.errors import SignatureRefused
from simcloud_model_container.settings import SigningSettings

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "sagemaker"
_AUTHORIZATION = re.compile(
    ALGORITHM + r" Credential=([^/,\s]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request,"
    r" ?SignedHeaders=([a-z0-9;_-]+), ?Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signature covers."""

    method: str
    path: str
    """As on the wire, percent-encoded, without query."""
    query: str
    """As on the wire, without `?`."""
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


def verify_signature(request: SignedRequest, settings: SigningSettings, *, now: datetime) -> None:
    """Check `request`'s signature at the time `now` (UTC).

    Raises:
        SignatureRefused: missing, malformed, by another key, stale or wrong.
    """
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if match is None:
        code = "MissingAuthenticationTokenException"
        message = f"the request has no `Authorization: {ALGORITHM} ...` header of the right form"
        raise SignatureRefused(code, message)
    key_id, day, region, service, signed_names, signature = match.groups()
    token = request.headers.get("x-amz-security-token", "")
    if key_id != settings.access_key_id or token != settings.session_token:
        code = "UnrecognizedClientException"
        raise SignatureRefused(code, "the security token included in the request is invalid")
    date = request.headers.get("x-amz-date", "")
    _check_date(date, day, now, settings.max_clock_skew_s)
    if service != SERVICE:
        code, message = "InvalidSignatureException", f"expected service {SERVICE}, found {service}"
        raise SignatureRefused(code, message)
    scope = f"{day}/{region}/{service}/aws4_request"
    canonical = canonical_request(request, signed_names.split(";"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{date}\n{scope}\n{digest}"
    key = f"AWS4{settings.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    expected = hmac.digest(key, to_sign.encode(), "sha256").hex()
    if not hmac.compare_digest(expected, signature):
        code = "InvalidSignatureException"
        message = "the signature does not match the one calculated from the request; check the key"
        raise SignatureRefused(code, message)


def canonical_request(request: SignedRequest, signed_names: list[str]) -> str:
    """The text whose digest is signed.

    Raises:
        SignatureRefused: `host` isn't among the signed headers, or one of them didn't come.
    """
    missing = {"host", "x-amz-date"}.difference(signed_names)
    absent = [name for name in signed_names if name not in request.headers]
    if missing or absent or signed_names != sorted(set(signed_names)):
        code = "InvalidSignatureException"
        message = "signed headers must be sorted, sent, and have host and x-amz-date among them"
        raise SignatureRefused(code, message)
    headers = [f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed_names]
    pairs = sorted(tuple(pair.partition("=")[::2]) for pair in request.query.split("&") if pair)
    return "\n".join(
        [
            request.method,
            quote(_normalized(request.path), safe="/-_.~"),
            "&".join(f"{key}={value}" for key, value in pairs),
            "".join(headers),
            ";".join(signed_names),
            hashlib.sha256(request.body).hexdigest(),
        ]
    )


def _check_date(date: str, day: str, now: datetime, skew_s: float) -> None:
    code = "InvalidSignatureException"
    try:
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise SignatureRefused(code, f"x-amz-date is no date: {date!r}") from error
    if not date.startswith(day):
        raise SignatureRefused(code, f"the credential's scope is of {day}, the request of {date}")
    if abs((now - signed_at).total_seconds()) > skew_s:
        message = f"signature expired: signed at {date}, now {now:%Y%m%dT%H%M%SZ}"
        raise SignatureRefused(code, message)


def _normalized(path: str) -> str:
    """RFC 3986 dot segments and doubled slashes removed."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    trailing = "/" if segments and path.endswith("/") else ""
    return f"/{'/'.join(segments)}{trailing}"
