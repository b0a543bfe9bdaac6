"""`simcloud endpoint deploy`: what is missing is made, what differs is updated, nothing else is.

A plan is made by reading alone, then carried out request by request. What was begun goes on in AWS
when the wait for it is broken off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simcloud.errors import Conflict, PermissionDenied, PreconditionFailed
from simcloud_cli.endpoints import describe
from simcloud_cli.endpoints.asleep import forget_others_requests
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.deployment import (
    Deployment,
    config_request,
    create_component_request,
    create_endpoint_request,
    model_request,
    name_of,
)
from simcloud_cli.endpoints.discovery import check_same_model
from simcloud_cli.endpoints.ownership import check_ours
from simcloud_cli.endpoints.serving import (
    ask_when_ready,
    reason,
    until_component_serves,
    until_in_service,
)
from simcloud_cli.endpoints.update import (
    Update,
    component_differs,
    update_component_request,
    update_endpoint_request,
)
from simcloud_cli.endpoints.waiting import Patience


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be asked so that the endpoint is as it shall be; nothing: it is."""

    model: str
    """Name of the model, which says what is in it."""
    config: str
    """Name of the endpoint's configuration, likewise."""
    arn: str
    """The endpoint's; empty: there is none yet."""
    first: tuple[Request, ...]
    """Model and configuration."""
    endpoint: Request | None
    component: Request | None
    """After the endpoint is in service."""
    under_way: bool
    """Whether the endpoint is becoming it just now."""
    forgotten: tuple[Request, ...] = ()
    """After the endpoint: what it slept with, where it is deployed while it sleeps."""
    unseen: str = ""
    """Why it is not known whether it sleeps; empty: it is."""

    @property
    def old_may_answer(self) -> bool:
        """Whether what was there before answers on, until a change of the endpoint has ended."""
        return self.under_way or (self.endpoint is not None and bool(self.arn))

    @property
    def requests(self) -> tuple[Request, ...]:
        """All of them, in the order in which they are sent."""
        made = () if self.endpoint is None else (self.endpoint,)
        last = () if self.component is None else (self.component,)
        return (*self.first, *made, *self.forgotten, *last)


@dataclass(frozen=True, slots=True)
class Deployed:
    """An endpoint that is in service as it shall be."""

    arn: str
    changed: bool
    """False: everything was there already."""
    left: str
    """What could not be asked without waiting; empty: nothing."""


async def plan_deployment(aws: Aws, d: Deployment, update: Update, *, digest: str = "") -> Plan:
    """What is missing or differs; AWS is only read.

    Args:
        aws: where.
        d: what shall be there.
        update: how it comes there, where something else is.
        digest: of its model, as the router's catalogue has it; empty: not known.

    Raises:
        Conflict: the endpoint is being changed into something else.
        PreconditionFailed: it failed and has to be deleted, or is not ours.
        InvalidRequest: a request has not the shape that AWS asks for, or routers find the endpoint
            by tags that name another model.
        SimcloudError: as ``Aws.ask``.
    """
    model = model_request(d)
    config = config_request(d, name_of(model))
    first = [
        request
        for request, look in (
            (model, _describe_model(name_of(model))),
            (config, describe.config_request(name_of(config))),
        )
        if await aws.find(look) is None
    ]
    found = await aws.find(describe.endpoint_request(d.name))
    under_way = found is not None and _becomes(found, name_of(config))
    endpoint = await _endpoint_request(aws, d, config, update, found, digest=digest)
    component = await _component_request(aws, d, name_of(model), update, exists=found is not None)
    forgotten, unseen = await _slept_with(aws, d, name_of(config), found)
    plan = Plan(
        model=name_of(model),
        config=name_of(config),
        arn=found["EndpointArn"] if found is not None else "",
        first=tuple(first),
        endpoint=endpoint,
        component=component,
        under_way=under_way,
        forgotten=forgotten,
        unseen=unseen,
    )
    for request in plan.requests:
        aws.check(request)
    return plan


async def carry_out(aws: Aws, d: Deployment, plan: Plan, patience: Patience | None) -> Deployed:
    """Asks for all of a plan, and waits until it is in service.

    Args:
        aws: where.
        d: what is deployed.
        plan: of it.
        patience: how long; None: doesn't wait, and leaves what can't be asked yet.

    Raises:
        PreconditionFailed: it failed, or went back to what was there; SageMaker's reason and what
            mends it are in the message.
        DeadlineExceeded: it was not in service in time, and goes on.
        SimcloudError: as ``Aws.ask``.
    """
    for request in plan.first:
        await aws.ask(request)
    if plan.endpoint is not None:
        await aws.ask(plan.endpoint)
    for request in plan.forgotten:
        await aws.ask(request)
    left = ""
    if patience is None:
        left = await _without_waiting(aws, plan)
    elif plan.requests or plan.under_way:
        await _with_waiting(aws, d, plan, patience)
    found = await aws.ask(describe.endpoint_request(d.name))
    return Deployed(arn=found["EndpointArn"], changed=bool(plan.requests), left=left)


async def _without_waiting(aws: Aws, plan: Plan) -> str:
    if plan.component is None:
        return ""
    if plan.endpoint is not None or plan.under_way:
        return "the same command makes its inference component, once the endpoint is in service"
    await aws.ask(plan.component)
    return ""


async def _with_waiting(aws: Aws, d: Deployment, plan: Plan, patience: Patience) -> None:
    try:
        await until_in_service(aws, d.name, plan.config, patience)
        if plan.component is not None:
            await ask_when_ready(aws, plan.component, patience)
            await until_component_serves(aws, d.name, plan.model, patience)
    except asyncio.CancelledError:
        patience.say(
            f"what was begun goes on in AWS, and bills: `simcloud endpoint status {d.name}` "
            f"shows it, `simcloud endpoint delete {d.name}` ends it"
        )
        raise


async def _endpoint_request(
    aws: Aws,
    d: Deployment,
    config: Request,
    update: Update,
    found: Mapping[str, Any] | None,
    *,
    digest: str,
) -> Request | None:
    name = name_of(config)
    if found is None:
        return create_endpoint_request(d, name)
    status = found["EndpointStatus"]
    if status in {"Failed", "OutOfService", "UpdateRollbackFailed"}:
        raise PreconditionFailed(
            f"endpoint {d.name} is {status}, which no update mends: "
            f"{reason(found, d.name)}; `simcloud endpoint delete {d.name}`, then deploy again"
        )
    if _becomes(found, name):
        return None
    if status != "InService":
        raise Conflict(
            f"endpoint {d.name} is {status}: wait until that has ended "
            f"(`simcloud endpoint status {d.name}`), then deploy again"
        )
    if found.get("EndpointConfigName") == name:
        return None
    check_same_model(await check_ours(aws, found["EndpointArn"], d.name), digest, d.name)
    keep = await _keeps_count(aws, d, found)
    return update_endpoint_request(d, name, update, keep_count=keep)


async def _slept_with(
    aws: Aws, d: Deployment, config: str, found: Mapping[str, Any] | None
) -> tuple[tuple[Request, ...], str]:
    """The tags of a sleep that ends here, and why they could not be looked for.

    With its tag on, another configuration would be what the next `wake` makes the endpoint of. One
    that is being made may have been begun by a run that was interrupted before it took them off.
    """
    if found is not None and found["EndpointStatus"] != "Creating":
        return (), ""
    try:
        return await forget_others_requests(aws, d.name, config=config), ""
    except PermissionDenied as error:
        return (), (
            f"whether it slept with another configuration is not known: {error.message}; if it "
            "did, that one keeps the tag, and `simcloud endpoint wake` may choose it one day"
        )


async def _keeps_count(aws: Aws, d: Deployment, found: Mapping[str, Any]) -> bool:
    """Whether autoscaling's count of instances is to stay: it stays unless the caller changed it.

    An update without that begins anew with the configuration's count: under load too few.
    """
    if d.kind not in {"realtime", "async"}:
        return False
    config = found.get("EndpointConfigName", "")
    before = await aws.find(describe.config_request(config))
    variants = (before or {}).get("ProductionVariants", [])
    return any(variant.get("InitialInstanceCount") == d.instances for variant in variants)


async def _component_request(
    aws: Aws, d: Deployment, model: str, update: Update, *, exists: bool
) -> Request | None:
    if d.kind != "component":
        return None
    found = await aws.find(describe.component_request(d.name)) if exists else None
    if found is None:
        return create_component_request(d, model)
    if not component_differs(d, model, found):
        return None
    await check_ours(aws, found["InferenceComponentArn"], d.name)
    return update_component_request(d, model, update)


def _becomes(found: Mapping[str, Any], config: str) -> bool:
    """Whether a change that runs ends in a configuration of that name."""
    status = found["EndpointStatus"]
    if status == "Creating":
        return bool(found.get("EndpointConfigName") == config)
    pending = found.get("PendingDeploymentSummary", {})
    return status == "Updating" and bool(pending.get("EndpointConfigName") == config)


def _describe_model(name: str) -> Request:
    return Request(
        service="sagemaker",
        operation="DescribeModel",
        parameters={"ModelName": name},
        resource=f"model/{name}",
    )
