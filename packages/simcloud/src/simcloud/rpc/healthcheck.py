"""``python -m simcloud.rpc.healthcheck``: asks a server how it is, for containers' health checks.

Ends with 0 when it is SERVING, else with 1 and a line that says why. Images have no other program
that could ask; Kubernetes asks by itself, except where the server wants a client certificate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from simcloud.errors import SimcloudError
from simcloud.rpc.credentials import channel_credentials
from simcloud.rpc.settings import TlsSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Asks once.

    Args:
        arguments: the command line's; those of the process by default.

    Returns:
        0 when the server is SERVING, else 1.
    """
    options = _parser().parse_args(arguments)
    if (options.cert is None) != (options.key is None):
        return _unhealthy(options.target, "--cert and --key belong together: give both or neither")
    tls = TlsSettings(
        cert=options.cert, key=options.key, server_ca=options.ca, server_name=options.server_name
    )
    secure = tls != TlsSettings()
    try:
        answer = _ask(options.target, options.service, options.timeout, tls=tls if secure else None)
    except (grpc.RpcError, SimcloudError) as error:
        return _unhealthy(options.target, _words(error))
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return 0
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return _unhealthy(options.target, name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simcloud.rpc.healthcheck", description=__doc__)
    parser.add_argument("target", help="host:port or unix:/path")
    parser.add_argument("--service", default="", help="full name; by default the whole server")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds")
    parser.add_argument("--ca", type=Path, help="authorities of the server's certificate, PEM")
    parser.add_argument("--cert", type=Path, help="own certificate, PEM")
    parser.add_argument("--key", type=Path, help="its private key, PEM")
    parser.add_argument("--server-name", help="name in the server's certificate")
    return parser


def _ask(
    target: str, service: str, timeout_s: float, *, tls: TlsSettings | None
) -> health_pb2.HealthCheckResponse:
    if tls is None:
        channel = grpc.insecure_channel(target)
    else:
        named = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
        channel = grpc.secure_channel(target, channel_credentials(tls), options=named)
    with channel:
        check: grpc.UnaryUnaryMultiCallable[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ] = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        return check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)


def _unhealthy(target: str, problem: str) -> int:
    sys.stderr.write(f"{target}: {problem}\n")
    return 1


def _words(error: Exception) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
