"""What a component or an asynchronous endpoint sleeps by: its limits, and its scheduled actions."""

from __future__ import annotations

from dataclasses import dataclass

from simcloud_cli.endpoints.asleep import ASLEEP_TAG, Before, parse_before, tagged_arn
from simcloud_cli.endpoints.aws import Aws
from simcloud_cli.endpoints.capacity import Limits
from simcloud_cli.endpoints.describe import Endpoint
from simcloud_cli.endpoints.ownership import tags_of
from simcloud_cli.endpoints.scaling import Scalable, actions_request
from simcloud_cli.endpoints.sleep_times import SLEEP, WAKE


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """How something sleeps, or would."""

    arn: str
    """Of what carries the tag."""
    asleep: bool
    """By limits of none to none; without limits, by a number of none."""
    tagged: bool
    before: Before | None
    """What it was when it was last awake, as far as is known: by the tag, else by the scheduled
    action that wakes it."""
    scheduled: bool
    """Whether a scheduled action puts it to sleep."""


async def night_of(aws: Aws, endpoint: Endpoint, item: Scalable, there: Limits | None) -> Night:
    """How a component or the variant of an asynchronous endpoint sleeps.

    Args:
        aws: the account.
        endpoint: whose it is.
        item: the component or variant.
        there: its limits.

    Raises:
        Corruption: as ``parse_before``.
        SimcloudError: as ``Aws.ask``.
    """
    arn = tagged_arn(endpoint, item)
    tag = (await tags_of(aws, arn)).get(ASLEEP_TAG, "")
    # What has no limits has no scheduled actions.
    actions = await _actions(aws, item) if there is not None else {}
    before = parse_before(tag).get(item.name)
    if before is not None and before.limits is not None and before.limits.most < 1:
        before = None
    woken = actions.get(WAKE)
    if before is None and woken is not None and woken.most > 0:
        before = Before(count=max(1, woken.least), limits=woken)
    return Night(
        arn=arn,
        asleep=there.most < 1 if there is not None else item.desired < 1,
        tagged=bool(tag),
        before=before,
        scheduled=SLEEP in actions,
    )


async def _actions(aws: Aws, item: Scalable) -> dict[str, Limits]:
    """The limits that scheduled actions set, by the action's name."""
    found = {}
    for row in await aws.rows(actions_request(item.resource_id), "ScheduledActions"):
        limits = row.get("ScalableTargetAction", {})
        if "MinCapacity" in limits and "MaxCapacity" in limits:
            found[str(row["ScheduledActionName"])] = Limits(
                least=int(limits["MinCapacity"]), most=int(limits["MaxCapacity"])
            )
    return found
