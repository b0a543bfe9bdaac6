"""Waiting until what was deployed serves, and what it is when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simcloud.errors import Conflict, PreconditionFailed
from simcloud_cli.endpoints import describe
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.failures import mend_of
from simcloud_cli.endpoints.waiting import Patience, wait_until

# DescribeEndpoint's EndpointStatus; the others are steps of a change.
_SETTLED: Final = frozenset({"InService", "Failed", "OutOfService", "UpdateRollbackFailed"})
_COMPONENT_SETTLED: Final = frozenset({"InService", "Failed"})


async def until_in_service(aws: Aws, name: str, config: str, patience: Patience) -> None:
    """Returns when an endpoint serves by a configuration.

    Raises:
        PreconditionFailed: it failed, or went back to what was there before.
        DeadlineExceeded: neither came in time.
    """
    found = await wait_until(
        lambda: aws.ask(describe.endpoint_request(name)),
        done=lambda seen: seen["EndpointStatus"] in _SETTLED,
        state=_state,
        what=f"endpoint {name}",
        patience=patience,
    )
    if found["EndpointStatus"] != "InService":
        raise PreconditionFailed(
            f"endpoint {name} is {found['EndpointStatus']}: {reason(found, name)}"
        )
    if found.get("EndpointConfigName") != config:
        raise PreconditionFailed(
            f"endpoint {name} went back to {found.get('EndpointConfigName')}, which serves: "
            f"{reason(found, name)}"
        )


async def ask_when_ready(aws: Aws, request: Request, patience: Patience) -> None:
    """A component's own change may still run: its endpoint says InService meanwhile."""
    try:
        await aws.ask(request)
    except Conflict:
        name = str(request.parameters["InferenceComponentName"])
        await _component_settled(aws, name, patience)
        await aws.ask(request)


async def until_component_serves(aws: Aws, name: str, model: str, patience: Patience) -> None:
    """As ``until_in_service``, of an inference component and its model."""
    found = await _component_settled(aws, name, patience)
    specification = found.get("Specification", {})
    if found["InferenceComponentStatus"] != "InService":
        raise PreconditionFailed(
            f"inference component {name} is {found['InferenceComponentStatus']}: "
            f"{reason(found, name)}"
        )
    if specification.get("ModelName") != model:
        raise PreconditionFailed(
            f"inference component {name} went back to model {specification.get('ModelName')}: "
            f"{reason(found, name)}"
        )


async def _component_settled(aws: Aws, name: str, patience: Patience) -> dict[str, Any]:
    return await wait_until(
        lambda: aws.ask(describe.component_request(name)),
        done=lambda seen: seen["InferenceComponentStatus"] in _COMPONENT_SETTLED,
        state=lambda seen: str(seen["InferenceComponentStatus"]),
        what=f"inference component {name}",
        patience=patience,
    )


def _state(found: Mapping[str, Any]) -> str:
    """The status, and where its change stands: Baking, ActivatingTraffic."""
    pending = found.get("PendingDeploymentSummary", {}).get("ProductionVariants", [])
    rows = pending or found.get("ProductionVariants", [])
    steps = {row["Status"] for variant in rows for row in variant.get("VariantStatus", [])}
    detail = f" ({', '.join(sorted(steps))})" if steps else ""
    return f"{found['EndpointStatus']}{detail}"


def reason(found: Mapping[str, Any], endpoint: str) -> str:
    """Why something failed, in SageMaker's words, and what mends it."""
    words = found.get("FailureReason", "") or "SageMaker gives no reason"
    return f"{words} ({mend_of(words, endpoint=endpoint)})"
