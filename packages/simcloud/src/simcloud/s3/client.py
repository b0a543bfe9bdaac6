"""The S3 client: its settings, and how it is made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from pydantic import BaseModel, ConfigDict, Field, SecretStr

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client
else:
    S3Client = object
    """Type of the raw client; its methods are S3's operations."""


__all__ = ["S3Client", "S3Settings", "open_client"]


class S3Settings(BaseModel):
    """Where S3 is and who we are there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint_url: str = Field(default="", pattern=r"^(https?://[^/\s]+/?)?$")
    """URL of an S3-compatible server; empty: AWS's endpoint of the region."""
    region: str = Field(default="us-east-1", min_length=1)
    """Region that requests are signed for."""
    access_key_id: str = ""
    """Access key; empty: the SDK's default chain (environment, web identity, instance role)."""
    secret_access_key: SecretStr = SecretStr("")
    """Secret of the access key; required with it."""
    session_token: SecretStr = SecretStr("")
    """Token of temporary credentials; empty for long-lived ones."""
    path_style: bool = False
    """Bucket in the path rather than in the host name; most S3-compatible servers need it."""
    connect_timeout_s: float = Field(default=5.0, gt=0, le=300)
    """Longest wait for a connection, seconds."""
    read_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """Longest silence of a connection, seconds; Complete may be silent for a minute."""
    max_connections: int = Field(default=64, ge=1, le=4096)
    """Connections held open; further requests wait for one."""
    unsigned_payload_over_http: bool = True
    """Over plain http, don't hash bodies with SHA-256: their signed CRC-64/NVME protects them, at a
    quarter of the CPU. Over https this is how S3 clients always work."""
    expected_bucket_owner: str = Field(default="", pattern=r"^([0-9]{12})?$")
    """AWS account that must own every bucket; empty: any."""


@asynccontextmanager
async def open_client(settings: S3Settings) -> AsyncIterator[S3Client]:
    """The raw client, closed at the end. One a process: making it costs 50 to 200 ms.

    Retries are ours (``simcloud.s3.objects``): the SDK's would hide what S3 said and double theirs.
    """
    secret = settings.secret_access_key.get_secret_value()
    token = settings.session_token.get_secret_value()
    session = get_session()
    async with session.create_client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint_url or None,
        aws_access_key_id=settings.access_key_id or None,
        aws_secret_access_key=secret or None,
        aws_session_token=token or None,
        config=_config(settings),
    ) as client:
        yield client


def _config(settings: S3Settings) -> AioConfig:
    s3: dict[str, object] = {"addressing_style": "path" if settings.path_style else "virtual"}
    if settings.endpoint_url.startswith("http://"):
        # Given explicitly it outranks botocore's "payloads are always signed over insecure
        # connections" (botocore/auth.py, botocore/crt/auth.py, S3's _should_sha256_sign_payload),
        # which reads a body in 4 KiB steps under the GIL: 1.65 against 0.43 CPU-s/GiB.
        s3["payload_signing_enabled"] = not settings.unsigned_payload_over_http
    return AioConfig(
        signature_version="s3v4",
        s3=s3,
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        max_pool_connections=settings.max_connections,
        # total_max_attempts counts the first try; max_attempts 1 would mean two
        retries={"total_max_attempts": 1, "mode": "standard"},
        # checksums are ours, CRC64NVME; the SDK's default CRC32 would be a second pass
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        tcp_keepalive=True,
        warm_up_loader_caches=True,
    )
