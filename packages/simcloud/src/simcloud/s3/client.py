"""The S3 client: its settings, and how it is made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from simcloud import __version__
from simcloud.aws.credentials import CredentialSource, FixedCredentials, ProviderChain
from simcloud.aws.sigv4 import Credentials
from simcloud.clock import SYSTEM_CLOCK
from simcloud.s3.direct import open_direct
from simcloud.s3.requests import Encryption, ObjectLock, added, check_tags, utc_now

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
    """Connections held open by the SDK, and as many by requests that go without it; further ones
    wait."""
    unsigned_payload_over_http: bool = True
    """Over plain http, don't hash bodies with SHA-256: their signed CRC-64/NVME protects them, at a
    quarter of the CPU. Over https this is how S3 clients always work."""
    expected_bucket_owner: str = Field(default="", pattern=r"^([0-9]{12})?$")
    """AWS account that must own every bucket; empty: any."""
    encryption: Encryption = Encryption.DEFAULT
    """Server-side encryption of what is written: `AES256`, `aws:kms`, `aws:kms:dsse`; empty: the
    bucket's own."""
    kms_key_id: str = ""
    """KMS key (id, ARN or alias) for `aws:kms`; empty: AWS's key for S3."""
    bucket_key: bool | None = None
    """Whether S3 asks KMS once a bucket rather than once an object, which costs a thousandth;
    unset: as the bucket says."""
    storage_class: Literal[
        "", "STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"
    ] = ""
    """Storage class of runs and scenes, of those that are read at once; empty: the bucket's. The
    small objects that say who owns an open shard stay in the bucket's, since the others bill 30
    days or more of each."""
    tags: dict[str, str] = {}
    """Tags of every object written, at most ten; the role needs `s3:PutObjectTagging`."""
    object_lock: ObjectLock = ObjectLock()
    """Write-once protection of what is written."""
    requester_pays: bool = False
    """Say that we pay for requests to buckets whose owner won't."""
    dual_stack: bool = False
    """Use AWS's endpoints that answer over IPv6 too."""
    fips: bool = False
    """Use AWS's FIPS 140 validated endpoints."""
    accelerate: bool = False
    """Use S3 Transfer Acceleration, which the bucket must have switched on."""

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: dict[str, str]) -> dict[str, str]:
        check_tags(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kms = self.encryption in {Encryption.SSE_KMS, Encryption.SSE_KMS_TWICE}
        if self.kms_key_id and not kms:
            raise ValueError("kms_key_id needs encryption aws:kms or aws:kms:dsse")
        if self.bucket_key is not None and self.encryption is not Encryption.SSE_KMS:
            raise ValueError("bucket_key needs encryption aws:kms")
        if self.endpoint_url and (self.dual_stack or self.fips or self.accelerate):
            raise ValueError(
                "dual_stack, fips and accelerate choose among AWS's endpoints: leave "
                "endpoint_url empty with them"
            )
        if self.accelerate and (self.fips or self.path_style):
            raise ValueError("accelerate goes with neither fips nor path_style")
        return self


@asynccontextmanager
async def open_client(settings: S3Settings) -> AsyncIterator[S3Client]:
    """The client, closed at the end. One a process: making it costs 50 to 200 ms.

    It is the SDK's, but that the frequent requests go without it (``simcloud.s3.direct``). Retries
    are ours (``simcloud.s3.objects``): the SDK's would hide what S3 said and double theirs.
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

        def add(params: dict[str, Any], model: Any, **_: object) -> None:
            params.update(added(settings, model, params, now=utc_now()))

        # Before botocore checks the parameters: for every caller of the client, so that no write
        # can forget what the settings say.
        client.meta.events.register("provide-client-params.s3.*", add)
        credentials: CredentialSource
        if settings.access_key_id:
            credentials = FixedCredentials(Credentials(settings.access_key_id, secret, token))
        else:
            credentials = ProviderChain(SYSTEM_CLOCK, session=session)
        async with open_direct(
            client,
            settings,
            credentials=credentials,
            ca_bundle=session.get_config_variable("ca_bundle"),
            clock=SYSTEM_CLOCK,
        ) as direct:
            yield cast("S3Client", direct)


def _config(settings: S3Settings) -> AioConfig:
    s3: dict[str, object] = {"addressing_style": "path" if settings.path_style else "virtual"}
    if settings.accelerate:
        s3["use_accelerate_endpoint"] = True
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
        use_dualstack_endpoint=settings.dual_stack,
        use_fips_endpoint=settings.fips,
        tcp_keepalive=True,
        # one that is given is not put together twice for each request, a tenth of its cost
        user_agent=f"simcloud/{__version__}",
        warm_up_loader_caches=True,
    )
