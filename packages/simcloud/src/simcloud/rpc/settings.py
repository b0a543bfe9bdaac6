"""Settings that every service of ours has: where it listens, its limits, TLS, drain, telemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

MIB = 1024 * 1024

TransportName: TypeAlias = Literal["grpc", "http2"]


class TlsSettings(BaseModel):
    """Certificates of one side of a connection; PEM files.

    A server needs ``cert`` and ``key``. A client needs none of these to reach a server whose
    certificate a public authority signed, ``server_ca`` for one of our own, and ``cert`` with
    ``key`` where the server asks for a client certificate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cert: Path | None = None
    """Own certificate with its chain."""
    key: Path | None = None
    """Private key of ``cert``."""
    client_ca: Path | None = None
    """Server: authorities of client certificates. When set, clients must present one; the caller's
    identity is its subject alternative name, else its common name."""
    server_ca: Path | None = None
    """Client: authorities of server certificates; unset: those of the system."""
    server_name: str | None = None
    """Client: name expected in the server's certificate when it differs from the target's host."""

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together: set both or neither")
        return self


class ServerSettings(BaseModel):
    """What every server has. Services extend it with their own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str = "127.0.0.1:0"
    """Address of the gRPC server: `host:port`, `[v6]:port` or `unix:/path`; port 0 takes a free
    one (see `port_file`)."""
    metrics_listen: str | None = None
    """Address of the HTTP server of `/metrics` (Prometheus) and `/healthz`; unset: none."""
    port_file: Path | None = None
    """File that gets `{"grpc": port, "metrics": port}` once the server listens, written in one
    piece; for whoever started it with port 0."""
    reuse_port: bool = False
    """Let several processes listen on the same port (SO_REUSEPORT); connections, not requests, are
    then spread over them. Off, so that a taken port is an error and not a second server."""
    transport: TransportName = "grpc"
    """What speaks gRPC: `grpc`, the gRPC library, or `http2`, our own HTTP/2 on the event loop, at
    a fifth of its CPU time a call; the service's own work comes on top. Clients see no difference
    but at its end: the gRPC library closes connections whose callers still send, by a reset, and
    answers that are on their way are lost with it; ours waits for the callers to close."""
    max_message_bytes: int = Field(default=16 * MIB, ge=64 * 1024, le=2**31 - 1)
    """Largest message sent or received, bytes. Bounds the memory one message can take."""
    transport_memory_bytes: int = Field(default=192 * MIB, ge=MIB)
    """Memory for requests that have not come whole or that nobody has taken yet, all connections
    together, and as much again for answers that their callers do not take; four messages of
    `max_message_bytes` at least. When it is full, callers wait, and those that neither send nor
    take are ended. For `transport=http2`; the gRPC library has no such bound."""
    max_concurrent_rpcs: int = Field(default=1024, ge=1)
    """RPCs served at once, health and reflection not counted; more get RESOURCE_EXHAUSTED."""
    unary_timeout_s: float = Field(default=300.0, gt=0)
    """Longest a unary RPC may take, seconds, whatever deadline the caller set or forgot."""
    max_connection_age_s: float | None = Field(default=None, gt=0)
    """Age at which a connection is asked to go elsewhere, seconds, so that load balancers by
    connection spread again after a scale-out; unset: never. RPCs on it have `drain_s` to end."""
    keepalive_s: float = Field(default=30.0, ge=1)
    """Idle time after which a connection is probed, seconds; a peer that has vanished is noticed
    after this and `keepalive_timeout_s`."""
    keepalive_timeout_s: float = Field(default=10.0, gt=0)
    """Time a probed peer has to answer, seconds."""
    drain_notice_s: float = Field(default=0.0, ge=0)
    """Time between health NOT_SERVING and refusing new RPCs, seconds: what load balancers need to
    look away."""
    drain_s: float = Field(default=30.0, ge=0)
    """Time that RPCs have to end or to checkpoint after SIGTERM, seconds; then they are cut."""
    tls: TlsSettings | None = None
    """Certificates; unset: plain text."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line written. Requests are logged at info; failures of ours at error."""
    log_requests: bool = True
    """One log line a finished RPC (health checks never), and of those within a stream that the
    service can say more about, one a request."""
    log_sampling_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of the finished RPCs that have their line, 0 to 1, drawn for each; what did not end
    with OK has it always, refusals for a limit's sake a hundred at once and ten a second."""
    stream_log_sampling_ratio: float = Field(default=0.01, ge=0, le=1)
    """As `log_sampling_ratio`, for the requests within streams: thousands a second, each of whose
    lines costs as much as a hundredth of a core and whatever the log's storage does."""
    otlp_endpoint: str | None = None
    """Where traces go by OTLP over gRPC, for example `http://collector:4317`; unset: nowhere,
    callers' trace context is still passed on."""
    trace_sampling_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of traces begun here that are kept, 0 to 1; a caller's decision is followed."""

    @model_validator(mode="after")
    def _server_certificate(self) -> Self:
        if self.tls is not None and self.tls.cert is None:
            raise ValueError("tls.cert and tls.key are required for a server with TLS")
        return self
