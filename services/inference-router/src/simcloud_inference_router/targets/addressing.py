"""Where a target's requests go and which headers choose within it; pure.

Paths and headers are those of botocore's models: sagemaker-runtime 2017-05-13 and
sagemaker-inference-router-runtime 2026-01-01.
"""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from simcloud_inference_router.target_entry import TargetEntry, TargetKind

_OPERATIONS: Mapping[TargetKind, str] = {
    "sagemaker": "/endpoints/{endpoint}/invocations",
    "sagemaker_serverless": "/endpoints/{endpoint}/invocations",
    "sagemaker_async": "/endpoints/{endpoint}/async-invocations",
    "sagemaker_stream": "/endpoints/{endpoint}/invocations-response-stream",
    "aws_inference_router": "/inference-routers/{inference_router}/invocations",
    "container": "/invocations",
}

SESSION_HEADER = "x-amzn-sagemaker-session-id"
TARGET_MODEL_HEADER = "x-amzn-sagemaker-target-model"


def path_of(entry: TargetEntry) -> str:
    """Path of the requests; names are letters, digits and dashes: nothing to escape."""
    return _OPERATIONS[entry.kind].format(
        endpoint=entry.endpoint, inference_router=entry.inference_router
    )


def base_url(entry: TargetEntry, *, region: str, override: str) -> str:
    """Scheme and authority, without a trailing slash.

    Args:
        entry: the catalogue's description; its ``url`` comes before the region's service.
        region: the entry's or the router's.
        override: the setting ``sagemaker_endpoint_url``, which outranks the catalogue for
            everything that is an endpoint: the same catalogue serves a laptop and an account.
    """
    if entry.kind == "aws_inference_router":
        return (entry.url or _service_url("inferencerouter-runtime.sagemaker", region)).rstrip("/")
    if entry.kind == "container":
        return entry.url.rstrip("/")
    return (override or entry.url or _service_url("runtime.sagemaker", region)).rstrip("/")


def selection(entry: TargetEntry) -> dict[str, str]:
    """Headers that choose within the endpoint or the router, the same for every request."""
    wanted = {
        "x-amzn-sagemaker-target-variant": entry.variant,
        "x-amzn-sagemaker-inference-component": entry.component,
        "x-amzn-sagemaker-target-container-hostname": entry.container_hostname,
        TARGET_MODEL_HEADER: entry.target_model,
        "x-amzn-sagemaker-routing-target-name": entry.routing_target,
    }
    return {name: value for name, value in wanted.items() if value}


def host_header(url: URL) -> str:
    """With the port unless it is the scheme's own, and IPv6 addresses in brackets."""
    host = url.host_subcomponent or ""
    if url.is_default_port():
        return host
    return f"{host}:{url.port}"


def _service_url(prefix: str, region: str) -> str:
    # botocore's endpoints.json: the China partition has a suffix of its own.
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{prefix}.{region}.{suffix}"
