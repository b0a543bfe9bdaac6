"""An endpoint as it is, read from SageMaker: variants, components, the configuration behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from simcloud.errors import InvalidRequest, NotFound
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.kinds import Kind

SERVES = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack"})
"""States in which requests are answered, as the router has it (docs/concepts/routing.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A production variant."""

    name: str
    model: str
    """SageMaker's model; empty where components name theirs."""
    instance_type: str
    """Empty for a serverless one."""
    current_instances: int | None
    desired_instances: int | None
    current_weight: float | None
    desired_weight: float | None
    serverless_mb: int | None = None
    serverless_concurrency: int | None = None
    provisioned_concurrency: int = 0
    """Of a serverless variant: what is kept warm, and bills."""
    managed_min: int | None = None
    """Least instances of an endpoint of components."""
    managed_max: int | None = None

    @property
    def resource(self) -> str:
        """Its part of an Application Auto Scaling resource, after ``endpoint/<name>/``."""
        return f"variant/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """An inference component."""

    name: str
    arn: str
    variant: str
    model: str
    status: str
    failure: str
    current_copies: int
    desired_copies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint."""

    name: str
    arn: str
    status: str
    failure: str
    kind: Kind
    config: str
    config_arn: str
    """Empty when the configuration is gone."""
    created: datetime
    modified: datetime
    variants: tuple[Variant, ...]
    components: tuple[Component, ...]
    capture: str = ""
    """Where requests and answers are kept; empty: nowhere."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names of SageMaker's models behind it, each once."""
        named = [item.model for item in self.variants] + [item.model for item in self.components]
        return tuple(dict.fromkeys(name for name in named if name))

    def variant(self, name: str) -> Variant:
        """The variant of this name; the only one without a name.

        Raises:
            InvalidRequest: there is no such variant, or several and none is named.
        """
        return _one(self.variants, name, option="--variant", endpoint=self.name)

    def component(self, name: str) -> Component:
        """The component of this name; the only one without a name.

        Raises:
            InvalidRequest: there is no such component, or several and none is named.
        """
        return _one(self.components, name, option="--component", endpoint=self.name)


Part = TypeVar("Part", Variant, Component)


def _one(parts: tuple[Part, ...], name: str, *, option: str, endpoint: str) -> Part:
    chosen = [part for part in parts if name in {"", part.name}]
    if len(chosen) == 1:
        return chosen[0]
    there = ", ".join(part.name for part in parts) or "none"
    raise InvalidRequest(option, f"{endpoint} has {there}; name one of them")


def endpoint_request(name: str, operation: str = "DescribeEndpoint") -> Request:
    """A request about an endpoint that takes nothing but its name."""
    return Request(
        service="sagemaker",
        operation=operation,
        parameters={"EndpointName": name},
        resource=f"endpoint/{name}",
    )


def config_request(name: str, operation: str = "DescribeEndpointConfig") -> Request:
    """A request about an endpoint's configuration that takes nothing but its name."""
    return Request(
        service="sagemaker",
        operation=operation,
        parameters={"EndpointConfigName": name},
        resource=f"endpoint-config/{name}",
    )


def component_request(name: str, operation: str = "DescribeInferenceComponent") -> Request:
    """A request about a component that takes nothing but its name."""
    return Request(
        service="sagemaker",
        operation=operation,
        parameters={"InferenceComponentName": name},
        resource=f"inference-component/{name}",
    )


async def find_endpoint(aws: Aws, name: str) -> Endpoint | None:
    """An endpoint with all that is behind it; None when there is none.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    seen = await aws.find(endpoint_request(name))
    if seen is None:
        return None
    # Someone may have deleted the configuration of an endpoint that serves; its variants stay.
    config = str(seen.get("EndpointConfigName", ""))
    behind = (await aws.find(config_request(config)) if config else None) or {}
    components = await _components(aws, name, behind)
    return Endpoint(
        name=name,
        arn=str(seen["EndpointArn"]),
        status=str(seen["EndpointStatus"]),
        failure=str(seen.get("FailureReason", "")),
        kind=_kind(seen, behind, components),
        config=config,
        config_arn=str(behind.get("EndpointConfigArn", "")),
        created=seen["CreationTime"],
        modified=seen["LastModifiedTime"],
        variants=_variants(seen, behind),
        components=components,
        capture=_capture(seen),
    )


async def get_endpoint(aws: Aws, name: str) -> Endpoint:
    """As ``find_endpoint``.

    Raises:
        NotFound: there is no such endpoint.
        SimcloudError: as ``Aws.ask``.
    """
    found = await find_endpoint(aws, name)
    if found is None:
        raise NotFound(
            f"there is no endpoint {name} in {aws.region}: `simcloud endpoint status {name}` says "
            "whether it sleeps, `simcloud endpoint deploy` makes one"
        )
    return found


async def _components(aws: Aws, endpoint: str, config: dict[str, Any]) -> tuple[Component, ...]:
    # An endpoint with models in its configuration has no components, and needs no permission to
    # list any.
    rows = config.get("ProductionVariants", [])
    if rows and all(row.get("ModelName") for row in rows):
        return ()
    listed = await aws.rows(
        Request(
            service="sagemaker",
            operation="ListInferenceComponents",
            parameters={"EndpointNameEquals": endpoint},
        ),
        "InferenceComponents",
    )
    found = []
    for row in listed:
        seen = await aws.find(component_request(str(row["InferenceComponentName"])))
        if seen is not None:
            found.append(_component(seen))
    return tuple(found)


def _component(seen: dict[str, Any]) -> Component:
    runtime = seen.get("RuntimeConfig", {})
    return Component(
        name=seen["InferenceComponentName"],
        arn=seen["InferenceComponentArn"],
        variant=str(seen.get("VariantName", "")),
        model=str(seen.get("Specification", {}).get("ModelName", "")),
        status=str(seen.get("InferenceComponentStatus", "")),
        failure=str(seen.get("FailureReason", "")),
        current_copies=int(runtime.get("CurrentCopyCount", 0)),
        desired_copies=int(runtime.get("DesiredCopyCount", 0)),
    )


def _variants(seen: dict[str, Any], config: dict[str, Any]) -> tuple[Variant, ...]:
    # An endpoint that failed before its first instance tells no variants; its configuration does.
    made = {row["VariantName"]: row for row in config.get("ProductionVariants", [])}
    states = {row["VariantName"]: row for row in seen.get("ProductionVariants", [])}
    return tuple(
        _variant(name, states.get(name, {}), made.get(name, {}))
        for name in dict.fromkeys([*states, *made])
    )


def _variant(name: str, state: dict[str, Any], made: dict[str, Any]) -> Variant:
    serverless = state.get("CurrentServerlessConfig") or made.get("ServerlessConfig") or {}
    managed = state.get("ManagedInstanceScaling") or made.get("ManagedInstanceScaling") or {}
    return Variant(
        name=name,
        model=str(made.get("ModelName", "")),
        instance_type=str(made.get("InstanceType", "")),
        current_instances=state.get("CurrentInstanceCount"),
        desired_instances=state.get("DesiredInstanceCount"),
        current_weight=state.get("CurrentWeight"),
        desired_weight=state.get("DesiredWeight"),
        serverless_mb=serverless.get("MemorySizeInMB"),
        serverless_concurrency=serverless.get("MaxConcurrency"),
        provisioned_concurrency=int(serverless.get("ProvisionedConcurrency", 0)),
        managed_min=managed.get("MinInstanceCount"),
        managed_max=managed.get("MaxInstanceCount"),
    )


def _kind(seen: dict[str, Any], config: dict[str, Any], components: tuple[Component, ...]) -> Kind:
    if seen.get("AsyncInferenceConfig"):
        return "async"
    rows = [*seen.get("ProductionVariants", []), *config.get("ProductionVariants", [])]
    if any(row.get("CurrentServerlessConfig") or row.get("ServerlessConfig") for row in rows):
        return "serverless"
    managed = any(row.get("ManagedInstanceScaling") for row in rows)
    return "component" if components or managed else "realtime"


def _capture(seen: dict[str, Any]) -> str:
    capture = seen.get("DataCaptureConfig", {})
    on = capture.get("EnableCapture") and capture.get("CaptureStatus") == "Started"
    return str(capture.get("DestinationS3Uri", "")) if on else ""
