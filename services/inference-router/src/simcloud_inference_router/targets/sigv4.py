"""AWS Signature Version 4 for requests whose whole body is known.

Written here because signing through the SDK costs more than all the rest of a routed request
(430 µs against 60-80 µs). Rules: AWS General Reference, "Signature Version 4 signing process";
compared with botocore's signer on random requests in the unit tests.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """AWS credentials at one moment."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""
    """Empty for long-lived keys."""

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r})"


def sha256_hex(body: bytes | memoryview) -> str:
    """Hash of a body as the signature wants it: lower-case hex, 64 characters."""
    return hashlib.sha256(body).hexdigest()


class SigV4Signer:
    """Signs requests for one region and service.

    The derived key is kept for the day and the secret it was made from: four of the five HMACs of
    a signature are then spared.

    Args:
        region: for example ``eu-central-1``.
        service: signing name, for example ``sagemaker``.
    """

    def __init__(self, *, region: str, service: str = "sagemaker") -> None:
        self._region = region
        self._service = service
        self._key_of: tuple[str, str] = ("", "")
        self._key = b""
        self._path = self._path_encoded = ""
        self._stamp_second = -1
        self._stamp = ""

    def sign(
        self,
        *,
        credentials: Credentials,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body_sha256: str,
        now_s: float,
    ) -> dict[str, str]:
        """Headers that must be added to the request.

        Args:
            credentials: whose request it is.
            method: upper case.
            path: path as it goes over the wire, percent-encoded, without a query.
            headers: every header that is to be signed, ``host`` among them; names lower case. What
                is sent beside them is not protected.
            body_sha256: from ``sha256_hex``.
            now_s: seconds since the epoch.
        """
        stamp = self._time_stamp(now_s)
        added = {"x-amz-date": stamp}
        if credentials.session_token:
            added["x-amz-security-token"] = credentials.session_token
        signed = {**headers, **added}
        names = sorted(signed)
        lines = "".join([f"{name}:{' '.join(signed[name].split())}\n" for name in names])
        signed_names = ";".join(names)
        if path != self._path:
            # Every service but S3 has the path of the wire encoded once more.
            self._path, self._path_encoded = path, quote(path, safe="/~")
        canonical = f"{method}\n{self._path_encoded}\n\n{lines}\n{signed_names}\n{body_sha256}"
        day = stamp[:8]
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        digest = sha256_hex(canonical.encode())
        to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}".encode()
        key = self._derived_key(credentials.secret_access_key, day)
        signature = hmac.digest(key, to_sign, "sha256").hex()
        added["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
            f"SignedHeaders={signed_names}, Signature={signature}"
        )
        return added

    def _time_stamp(self, now_s: float) -> str:
        second = int(now_s)
        if second != self._stamp_second:
            self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            self._stamp_second = second
        return self._stamp

    def _derived_key(self, secret: str, day: str) -> bytes:
        if self._key_of != (secret, day):
            key = b"AWS4" + secret.encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._key_of = key, (secret, day)
        return self._key
