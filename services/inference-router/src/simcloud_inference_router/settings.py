"""Settings of the inference-router: from flags and ``SIMCLOUD_INFERENCE_ROUTER_*``."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from simcloud.rpc.auth import Authorizer, CallerAllowList, OperatorLists
from simcloud.rpc.settings import MIB, ServerSettings, TransportName
from simcloud.s3.client import S3Settings
from simcloud_inference_router.quotas import CallerQuota
from simcloud_inference_router.refs.settings import RefSettings

NAME = "inference-router"

ANSWER_ROOM_BYTES = 16 * 1024
"""Kept free in a gRPC message for what stands around an answer's body: ids, names, timings."""


class LimiterSettings(BaseModel):
    """How many requests a target is asked at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int = Field(default=8, ge=1, le=4096)
    """Limit before anything is known about a target."""
    minimum: int = Field(default=1, ge=1, le=4096)
    """The limit never falls below: the endpoint's autoscaler must see the demand."""
    maximum: int = Field(default=64, ge=1, le=4096)
    """The limit never rises above."""
    decrease: float = Field(default=0.7, gt=0, lt=1)
    """Factor on 429, 503 and failed connections; nothing else shrinks the limit."""


class RetrySettings(BaseModel):
    """The one retry, and what may be spent on it; per model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: float = Field(default=0.2, ge=0, le=1)
    """Retries as a share of the requests of the last ten seconds."""
    floor_per_s: float = Field(default=1.0, ge=0)
    """Retries a second that are always allowed."""
    base_s: float = Field(default=0.05, gt=0)
    """Longest pause before the retry, seconds, unless the target asks for more."""


class SageMakerSettings(BaseModel):
    """Who asks the endpoints. Where they are says `sagemaker_endpoint_url`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    access_key_id: str = ""
    """Access key; empty: the SDK's default chain (environment, web identity, instance role)."""
    secret_access_key: SecretStr = SecretStr("")
    """Secret of the access key; required with it."""
    session_token: SecretStr = SecretStr("")
    """Token of temporary credentials; empty for long-lived ones."""


class RouterSettings(ServerSettings):
    """The inference-router: Open Inference Protocol and frame streams in front of endpoints."""

    transport: TransportName = "http2"
    catalog: Path
    """Catalogue of models and targets, YAML."""
    catalog_poll_s: float = Field(default=5.0, ge=0)
    """Time between two looks at the catalogue's content, seconds; a new one that is valid is served
    from then on, without a restart. 0: only SIGHUP and operators have it read again."""
    admins: tuple[str, ...] = ()
    """Callers that may change weights, drain targets and have the catalogue read again: identities
    of client certificates. Nobody by default; `anonymous` lets in everyone that has none."""
    processes: int = Field(default=1, ge=1, le=64)
    """Processes that share the port; one uses one core. Connections, not requests, are spread over
    them. Every limit, queue and statistic here is each process's own, and so is its metrics port:
    `metrics_listen`'s, the next, and so on."""
    region: str = Field(default="us-east-1", min_length=1)
    """AWS region of targets that name none."""
    sagemaker_endpoint_url: str = Field(default="", pattern=r"^(https?://[^/?#\s]+/?)?$")
    """Where every target of a kind `sagemaker…` is asked, in place of its region's runtime; for
    private endpoints and for model containers that speak the runtime's protocol."""
    discovery_endpoint_url: str = Field(default="", pattern=r"^(https?://[^/?#\s]+/?)?$")
    """Where the catalogue's `discovery` asks for tags and endpoints, in place of the region's
    tagging API and SageMaker."""
    sagemaker: SageMakerSettings = SageMakerSettings()
    """Who asks the endpoints."""
    limiter: LimiterSettings = LimiterSettings()
    """Adaptive concurrency, per target."""
    retry: RetrySettings = RetrySettings()
    """Retries, per model."""
    connect_timeout_s: float = Field(default=2.0, gt=0)
    """Longest wait for a target's connection, seconds."""
    keepalive_idle_s: float = Field(default=12.0, gt=0)
    """Time an idle connection to a target is kept, seconds; AWS closes them at about 20."""
    max_answer_bytes: int = Field(default=64 * MIB, ge=1024)
    """Largest answer of a target that is read; never more than `max_message_bytes` lets through."""
    stream_window: int = Field(default=32, ge=1, le=1024)
    """Frames of one `Infer` stream, or requests of one `ModelStreamInfer`, in flight at once."""
    payload_budget_bytes: int = Field(default=256 * MIB, ge=1 * MIB)
    """Requests of streams in memory at once, over all streams: tensors, and pictures, inline and
    read from S3. While it is full, no stream is read on."""
    s3: S3Settings = S3Settings()
    """Where frame refs are read from."""
    refs: RefSettings = RefSettings()
    """How they are read: what at once, and what is kept."""
    allowed_buckets: tuple[str, ...] = ()
    """Buckets whose frame refs are read: `bucket`, `bucket/prefix`, or `*` for all; none by
    default, since the router's own role would read them."""
    allowed_models: tuple[str, ...] = ("*",)
    """Models that callers may use; `*` for all."""
    allowed_callers: tuple[CallerAllowList, ...] = ()
    """Callers with lists of their own in place of these two; JSON."""

    quotas: tuple[CallerQuota, ...] = ()
    """How often callers may ask, requests and frames of all models together; JSON. More are
    RESOURCE_EXHAUSTED before anything is done for them. None by default."""

    @property
    def answer_limit(self) -> int:
        """Bytes of the largest answer that is read: one that could not be sent on is not read."""
        return min(self.max_answer_bytes, self.max_message_bytes - ANSWER_ROOM_BYTES)

    def authorizer(self) -> Authorizer:
        """What callers may do."""
        return OperatorLists(
            buckets=self.allowed_buckets,
            models=self.allowed_models,
            callers=self.allowed_callers,
            admins=frozenset(self.admins),
        )
