"""EventBridge's Scheduler, which deletes an endpoint of instances and makes it again, by a role."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.describe import Endpoint
from simcloud_cli.endpoints.refusals import partition_of
from simcloud_cli.endpoints.sleep_times import SLEEP, WAKE, SleepTimes

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


async def scheduled_config(aws: Aws, name: str) -> str:
    """The configuration of which the Scheduler makes an endpoint; empty: it makes none.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    seen = await aws.find(_schedule_request("GetSchedule", schedule_name(WAKE, name)))
    try:
        given = json.loads((seen or {}).get("Target", {}).get("Input", "{}"))
    except json.JSONDecodeError:
        # Somebody else wrote it.
        return ""
    return str(given.get("EndpointConfigName", "")) if isinstance(given, dict) else ""


async def remove_schedules(aws: Aws, name: str) -> int:
    """Deletes the schedules that delete and make an endpoint; how many there were."""
    removed = 0
    for what in (SLEEP, WAKE):
        found = await aws.find(_schedule_request("DeleteSchedule", schedule_name(what, name)))
        removed += found is not None
    return removed


async def set_schedules(
    aws: Aws, endpoint: Endpoint, tags: dict[str, str], times: SleepTimes
) -> list[str]:
    """Has an endpoint deleted and made of the configuration that it has now.

    Args:
        aws: the account.
        endpoint: of instances.
        tags: those it has when it is made.
        times: when, and under which role.

    Returns:
        What was set, a line each.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
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


def schedule_name(what: str, endpoint: str) -> str:
    """A schedule's name, at most 64 characters, unlike any other endpoint's."""
    whole = f"{what}-{endpoint}"
    if len(whole) <= _NAME_LENGTH:
        return whole
    digest = hashlib.sha256(endpoint.encode()).hexdigest()[:8]
    return f"{whole[: _NAME_LENGTH - 9]}-{digest}"


def needs_role(endpoint: Endpoint, region: str) -> str:
    """What a role must be for the Scheduler, in words."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What the Scheduler asks of SageMaker, and when."""

    what: str
    expression: str
    operation: str
    parameters: dict[str, object]


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
