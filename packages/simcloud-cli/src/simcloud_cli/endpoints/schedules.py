"""Sleep at fixed times: who does it, by the endpoint's kind.

Components and asynchronous endpoints have scheduled actions of Application Auto Scaling. An
endpoint of instances is deleted and made again by EventBridge's Scheduler, which calls SageMaker
under a role that is given to it.
"""

from __future__ import annotations

from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud_cli.endpoints.asleep import Before, forget_others, lasting, remember
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.capacity import Limits, limits_of
from simcloud_cli.endpoints.describe import Endpoint, get_endpoint
from simcloud_cli.endpoints.nights import night_of
from simcloud_cli.endpoints.ownership import check_ours
from simcloud_cli.endpoints.scaling import (
    Scalable,
    action_request,
    actions_request,
    delete_action_request,
    register_request,
    scalables,
)
from simcloud_cli.endpoints.scheduler import (
    Schedule,
    needs_role,
    remove_schedules,
    scheduled_calls,
    set_schedules,
)
from simcloud_cli.endpoints.sleep_times import SLEEP, WAKE, SleepTimes


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
            raise InvalidRequest("--scheduler-role", needs_role(endpoint, aws.region))
        if not endpoint.config_arn:
            raise PreconditionFailed(f"configuration {endpoint.config} of {name} is gone")
        await check_ours(aws, endpoint.config_arn, name)
    found = await check_ours(aws, endpoint.arn, name)
    if endpoint.kind == "realtime":
        # Woken by hand, it is made of the configuration that it has now.
        await forget_others(aws, endpoint)
        return await set_schedules(aws, endpoint, lasting(found), times)
    return await _by_autoscaling(aws, endpoint, times)


async def remove_times(aws: Aws, name: str) -> list[str]:
    """Takes away when an endpoint sleeps and wakes; what sleeps now stays asleep.

    Returns:
        What is gone and what sleeps, a line each.

    Raises:
        NotFound: there is no such endpoint.
        PreconditionFailed: it was not made by us.
    """
    endpoint = await get_endpoint(aws, name)
    await check_ours(aws, endpoint.arn, name)
    removed = await remove_schedules(aws, name)
    sleeping = await _keep_sleeping(aws, endpoint) if endpoint.kind != "realtime" else []
    for item in scalables(endpoint):
        for action in (SLEEP, WAKE):
            removed += await aws.find(delete_action_request(item, action)) is not None
    return [f"{removed} schedules of {name} are gone", *sleeping]


async def _keep_sleeping(aws: Aws, endpoint: Endpoint) -> list[str]:
    """Remembers what sleeps now, before the action that would wake it goes; a line each."""
    lines = []
    limits = await limits_of(aws, scalables(endpoint))
    for item in scalables(endpoint):
        night = await night_of(aws, endpoint, item, limits.get(item.resource_id))
        if not night.asleep:
            continue
        if night.before is not None:
            await remember(aws, night.arn, {item.name: night.before})
        lines.append(f"{item.name} sleeps: `simcloud endpoint wake {endpoint.name}` wakes it")
    return lines


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
        night = await night_of(aws, endpoint, item, there)
        known = night.before if night.asleep else Before(count=item.desired, limits=there)
        count = max(1, known.count) if known is not None else 1
        within = known.limits if known is not None else None
        within = within or Limits(least=count, most=count)
        # A night of which nothing but `wake` wakes it ends with these.
        await remember(aws, night.arn, {item.name: Before(count=count, limits=within)})
        if there is None:
            least, most = (0, 0) if night.asleep else (count, count)
            await aws.ask(register_request(item, least=least, most=most))
        awake = Limits(least=max(1, within.least), most=within.most)
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
