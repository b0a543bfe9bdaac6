"""Sleep at fixed times: who does it, by the endpoint's kind.

Components and asynchronous endpoints have scheduled actions of Application Auto Scaling. An
endpoint of instances is deleted and made again by EventBridge's Scheduler, which calls SageMaker
under a role that is given to it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud_cli.endpoints.asleep import lasting
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.capacity import Limits, limits_of
from simcloud_cli.endpoints.describe import Endpoint, get_endpoint
from simcloud_cli.endpoints.ownership import check_ours
from simcloud_cli.endpoints.refusals import partition_of
from simcloud_cli.endpoints.scaling import (
    Scalable,
    action_request,
    actions_request,
    delete_action_request,
    register_request,
    scalables,
)
from simcloud_cli.endpoints.sleep_times import SleepTimes

SLEEP = "simcloud-sleep"
WAKE = "simcloud-wake"
_NAME_LENGTH = 64
# One that fails for hours is not made good by being tried: the other schedule comes.
_RETRIES = {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule that there is."""

    name: str
    expression: str
    timezone: str
    does: str
    """In words."""


async def set_times(aws: Aws, name: str, times: SleepTimes) -> list[str]:
    """Sets when an endpoint sleeps and wakes, in place of what was set before.

    Returns:
        What was set, a line each.

    Raises:
        NotFound: there is no such endpoint.
        InvalidRequest: its kind never runs while nobody asks, or needs a role and none is given.
        PreconditionFailed: it was not made by us.
    """
    endpoint = await get_endpoint(aws, name)
    if endpoint.kind == "serverless":
        raise InvalidRequest("--schedule", f"{name} is serverless: nothing runs while nobody asks")
    if endpoint.kind == "realtime":
        if not times.role:
            raise InvalidRequest("--scheduler-role", _needs_role(endpoint, aws.region))
        if not endpoint.config_arn:
            raise PreconditionFailed(f"configuration {endpoint.config} of {name} is gone")
        await check_ours(aws, endpoint.config_arn, name)
    found = await check_ours(aws, endpoint.arn, name)
    if endpoint.kind == "realtime":
        return await _by_scheduler(aws, endpoint, lasting(found), times)
    return await _by_autoscaling(aws, endpoint, times)


async def remove_times(aws: Aws, name: str) -> int:
    """Takes away when an endpoint sleeps and wakes; how many schedules there were.

    Raises:
        NotFound: there is no such endpoint.
        PreconditionFailed: it was not made by us.
    """
    endpoint = await get_endpoint(aws, name)
    await check_ours(aws, endpoint.arn, name)
    removed = await remove_schedules(aws, name)
    for item in scalables(endpoint):
        for action in (SLEEP, WAKE):
            removed += await aws.find(delete_action_request(item, action)) is not None
    return removed


async def remove_schedules(aws: Aws, name: str) -> int:
    """Deletes the schedules that delete and make an endpoint; how many there were."""
    removed = 0
    for what in (SLEEP, WAKE):
        found = await aws.find(_schedule_request("DeleteSchedule", schedule_name(what, name)))
        removed += found is not None
    return removed


async def schedules_of(aws: Aws, endpoint: Endpoint) -> list[Schedule]:
    """The schedules of an endpoint, whoever made them.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    found = []
    for item in scalables(endpoint):
        rows = await aws.rows(actions_request(item.resource_id), "ScheduledActions")
        found += [_of_action(item, row) for row in rows]
    if endpoint.kind == "realtime":
        found += await scheduled_calls(aws, endpoint.name)
    return found


async def scheduled_calls(aws: Aws, name: str) -> list[Schedule]:
    """The schedules that delete and make an endpoint of instances."""
    found = []
    for what in (SLEEP, WAKE):
        seen = await aws.find(_schedule_request("GetSchedule", schedule_name(what, name)))
        if seen is not None:
            found.append(
                Schedule(
                    name=schedule_name(what, name),
                    expression=str(seen.get("ScheduleExpression", "")),
                    timezone=str(seen.get("ScheduleExpressionTimezone", "UTC")),
                    does="deletes the endpoint" if what == SLEEP else "makes the endpoint",
                )
            )
    return found


def schedule_name(what: str, endpoint: str) -> str:
    """A schedule's name, at most 64 characters, unlike any other endpoint's."""
    whole = f"{what}-{endpoint}"
    if len(whole) <= _NAME_LENGTH:
        return whole
    digest = hashlib.sha256(endpoint.encode()).hexdigest()[:8]
    return f"{whole[: _NAME_LENGTH - 9]}-{digest}"


def _of_action(item: Scalable, row: dict[str, object]) -> Schedule:
    action = row.get("ScalableTargetAction")
    limits = action if isinstance(action, dict) else {}
    least, most = limits.get("MinCapacity", "?"), limits.get("MaxCapacity", "?")
    return Schedule(
        name=str(row["ScheduledActionName"]),
        expression=str(row["Schedule"]),
        timezone=str(row.get("Timezone", "UTC")),
        does=f"{item.name}: {least} to {most} {item.unit}",
    )


async def _by_autoscaling(aws: Aws, endpoint: Endpoint, times: SleepTimes) -> list[str]:
    lines = []
    limits = await limits_of(aws, scalables(endpoint))
    for item in scalables(endpoint):
        there = limits.get(item.resource_id)
        if there is None:
            count = max(1, item.desired)
            there = Limits(least=count, most=count)
            await aws.ask(register_request(item, least=count, most=count))
        most = max(1, there.most)
        awake = Limits(least=max(1, min(there.least, most)), most=most)
        await aws.ask(_action(item, SLEEP, times.sleep, times, Limits(least=0, most=0)))
        lines.append(f"{item.name} goes to no {item.unit} at {times.sleep} {times.timezone}")
        if times.wake:
            await aws.ask(_action(item, WAKE, times.wake, times, awake))
            lines.append(
                f"{item.name} goes to {awake.least} to {awake.most} {item.unit} at {times.wake} "
                f"{times.timezone}"
            )
        else:
            # Of an earlier pair.
            await aws.find(delete_action_request(item, WAKE))
    return lines


def _action(
    item: Scalable, name: str, expression: str, times: SleepTimes, limits: Limits
) -> Request:
    return action_request(
        item,
        name,
        schedule=expression,
        timezone=times.timezone,
        least=limits.least,
        most=limits.most,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What the Scheduler asks of SageMaker, and when."""

    what: str
    expression: str
    operation: str
    parameters: dict[str, object]


async def _by_scheduler(
    aws: Aws, endpoint: Endpoint, tags: dict[str, str], times: SleepTimes
) -> list[str]:
    name = endpoint.name
    sleep = _Call(
        what=SLEEP,
        expression=times.sleep,
        operation="deleteEndpoint",
        parameters={"EndpointName": name},
    )
    await _put(aws, name, sleep, times)
    lines = [f"{name} is deleted at {times.sleep} {times.timezone}; its configuration is kept"]
    if times.wake:
        wake = _Call(
            what=WAKE,
            expression=times.wake,
            operation="createEndpoint",
            parameters={
                "EndpointName": name,
                "EndpointConfigName": endpoint.config,
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            },
        )
        await _put(aws, name, wake, times)
        lines.append(
            f"{name} is made of {endpoint.config} at {times.wake} {times.timezone}; say this again "
            "after a deployment, and limits (`simcloud endpoint scale`) after it was made"
        )
    else:
        await aws.find(_schedule_request("DeleteSchedule", schedule_name(WAKE, name)))
    return lines


async def _put(aws: Aws, endpoint: str, call: _Call, times: SleepTimes) -> None:
    name = schedule_name(call.what, endpoint)
    there = await aws.find(_schedule_request("GetSchedule", name))
    partition = partition_of(aws.region)
    await aws.ask(
        Request(
            service="scheduler",
            operation="CreateSchedule" if there is None else "UpdateSchedule",
            parameters={
                "Name": name,
                "Description": f"Simcloud: endpoint {endpoint}",
                "ScheduleExpression": call.expression,
                "ScheduleExpressionTimezone": times.timezone,
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {
                    # "Universal targets" of EventBridge Scheduler's guide.
                    "Arn": f"arn:{partition}:scheduler:::aws-sdk:sagemaker:{call.operation}",
                    "RoleArn": times.role,
                    "Input": json.dumps(call.parameters, separators=(",", ":")),
                    "RetryPolicy": _RETRIES,
                },
            },
            resource=f"schedule/default/{name}",
        )
    )


def _schedule_request(operation: str, name: str) -> Request:
    return Request(
        service="scheduler",
        operation=operation,
        parameters={"Name": name},
        resource=f"schedule/default/{name}",
    )


def _needs_role(endpoint: Endpoint, region: str) -> str:
    partition = partition_of(region)
    statement = {
        "Effect": "Allow",
        "Action": ["sagemaker:DeleteEndpoint", "sagemaker:CreateEndpoint", "sagemaker:AddTags"],
        "Resource": [
            f"arn:{partition}:sagemaker:{region}:*:endpoint/{endpoint.name}",
            f"arn:{partition}:sagemaker:{region}:*:endpoint-config/{endpoint.config}",
        ],
    }
    return (
        "an endpoint of instances is deleted and made again on schedule by EventBridge's "
        "Scheduler: give a role that scheduler.amazonaws.com may take, with the policy "
        f"statement {json.dumps(statement)}"
    )
