"""How many instances or copies an endpoint has, and within which limits it may change them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simcloud.errors import Conflict, InvalidRequest, PreconditionFailed
from simcloud_cli.endpoints.alarms import alarm_of
from simcloud_cli.endpoints.aws import Aws
from simcloud_cli.endpoints.describe import Endpoint, get_endpoint
from simcloud_cli.endpoints.failures import mend_of
from simcloud_cli.endpoints.ownership import check_ours
from simcloud_cli.endpoints.scaling import (
    LOAD_POLICY,
    Scalable,
    count_request,
    load_policy_request,
    policies_request,
    register_request,
    scalables,
    serverless_request,
    targets_request,
    wake_alarm_request,
    wake_policy_request,
)
from simcloud_cli.endpoints.waiting import Patience, wait_until

DEFAULT_TARGET = 4.0
"""Requests at once per instance or copy: as many as the Terraform modules ask for."""
_MOST_SERVERLESS = 200
_BAD = frozenset({"Failed", "OutOfService", "UpdateRollbackFailed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Between which numbers Application Auto Scaling keeps something."""

    least: int
    most: int
    target: float | None = None
    """Requests at once per instance or copy that the load policy keeps; None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleChoice:
    """What a caller wants changed.

    Raises:
        InvalidRequest: nothing, or numbers that don't go together.
    """

    least: int | None = None
    most: int | None = None
    count: int | None = None
    """Instances or copies, at once."""
    target: float | None = None
    part: str = ""
    """Variant or component, where there are several."""

    def __post_init__(self) -> None:
        given = (self.least, self.most, self.count, self.target)
        if all(value is None for value in given):
            raise InvalidRequest("--min", "give --min and --max, or --instances")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise InvalidRequest("--min", f"{self.least} is above --max {self.most}")
        if self.most is not None and self.most < 1:
            raise InvalidRequest("--max", "is 1 at least: `simcloud endpoint sleep` goes to none")
        if self.target is not None and self.target <= 0:
            raise InvalidRequest("--target", f"is above 0, found {self.target:g}")


async def limits_of(aws: Aws, scalable: Sequence[Scalable]) -> dict[str, Limits]:
    """The limits of each that has any, by resource.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    if not scalable:
        return {}
    rows = await aws.rows(
        targets_request([item.resource_id for item in scalable]), "ScalableTargets"
    )
    found = {}
    for row in rows:
        resource = str(row["ResourceId"])
        policies = await aws.rows(policies_request(resource), "ScalingPolicies")
        tracking = next(
            (
                policy["TargetTrackingScalingPolicyConfiguration"]
                for policy in policies
                if policy["PolicyName"] == LOAD_POLICY
            ),
            None,
        )
        found[resource] = Limits(
            least=int(row["MinCapacity"]),
            most=int(row["MaxCapacity"]),
            target=float(tracking["TargetValue"]) if tracking else None,
        )
    return found


async def scale(aws: Aws, name: str, choice: ScaleChoice, patience: Patience) -> Endpoint:
    """Changes the limits or the number of an endpoint's instances or copies, and waits for it.

    Args:
        aws: the account.
        name: the endpoint.
        choice: what changes.
        patience: how long to wait for a number that was asked for.

    Raises:
        NotFound: there is no such endpoint.
        InvalidRequest: its kind can't be scaled so, or it has several variants or components.
        PreconditionFailed: it was not made by us, or the new number could not be had.
        Conflict: it is being changed.
        DeadlineExceeded: the number was not there in time.
    """
    endpoint = await get_endpoint(aws, name)
    check_steady(endpoint)
    if endpoint.kind == "serverless":
        return await _scale_serverless(aws, endpoint, choice, patience)
    chosen = chosen_of(endpoint, choice.part)
    limits = _limits(
        endpoint, chosen, (await limits_of(aws, [chosen])).get(chosen.resource_id), choice
    )
    await check_ours(aws, endpoint.arn, name)
    # The number before the limits: those would move it, and what moves can't be changed.
    if choice.count is not None:
        await set_count(aws, chosen, choice.count, patience)
    if limits is not None:
        await apply_limits(aws, chosen, limits, patience)
    return await get_endpoint(aws, name)


async def set_count(aws: Aws, chosen: Scalable, count: int, patience: Patience) -> Endpoint:
    """Sets the number of instances or copies and waits for it.

    Raises:
        SimcloudError: as ``settled``.
    """
    await aws.ask(count_request(chosen, count))
    return await settled(aws, chosen.endpoint, lambda seen: _count(seen, chosen) == count, patience)


def chosen_of(endpoint: Endpoint, part: str) -> Scalable:
    """The variant or component of this name; the only one without a name.

    Raises:
        InvalidRequest: there is no such, or several and none is named.
    """
    component = endpoint.kind == "component"
    named = endpoint.component(part).name if component else endpoint.variant(part).name
    return next(item for item in scalables(endpoint) if item.name == named)


async def apply_limits(aws: Aws, chosen: Scalable, limits: Limits, patience: Patience) -> None:
    """Registers limits with the policy that follows the load, and what wakes it from none.

    Raises:
        PreconditionFailed: somebody else's alarm has the name of the one that wakes it.
        SimcloudError: as ``Aws.ask``.
    """
    if limits.least == 0 and await alarm_of(aws, chosen) == "theirs":
        raise PreconditionFailed(
            f"alarm {chosen.alarm} is there and does not wake {chosen.name}: no limits were set; "
            "rename it where it was made, or give --min 1"
        )
    await aws.ask(register_request(chosen, least=limits.least, most=limits.most))
    target = limits.target or DEFAULT_TARGET
    await aws.ask(load_policy_request(chosen, target=target))
    patience.say(
        f"{chosen.name}: {limits.least} to {limits.most} {chosen.unit}, "
        f"{target:g} requests at once each"
    )
    if limits.least == 0:
        made = await aws.ask(wake_policy_request(chosen))
        await aws.ask(wake_alarm_request(chosen, str(made["PolicyARN"])))


async def settled(
    aws: Aws, name: str, reached: Callable[[Endpoint], bool], patience: Patience
) -> Endpoint:
    """The endpoint, once it is in service and what was asked for is there.

    Raises:
        NotFound: it was deleted meanwhile.
        PreconditionFailed: it failed; SageMaker's reason and what mends it are in the message.
        DeadlineExceeded: it took too long.
    """
    seen = await wait_until(
        lambda: get_endpoint(aws, name),
        done=lambda found: (
            bool(_failure(found)) or (found.status == "InService" and reached(found))
        ),
        state=lambda found: (
            "changing" if found.status == "InService" and not reached(found) else found.status
        ),
        what=f"endpoint {name}",
        patience=patience,
    )
    if failure := _failure(seen):
        raise PreconditionFailed(
            f"endpoint {name}: {failure}: {mend_of(failure, endpoint=name)}", endpoint=name
        )
    return seen


def _failure(endpoint: Endpoint) -> str:
    for component in endpoint.components:
        if component.status == "Failed":
            return f"component {component.name} failed: {component.failure}"
    if endpoint.status in _BAD:
        return f"{endpoint.status}: {endpoint.failure}"
    return ""


def _count(endpoint: Endpoint, chosen: Scalable) -> int:
    return next(
        (item.current for item in scalables(endpoint) if item.resource_id == chosen.resource_id), -1
    )


def check_steady(endpoint: Endpoint) -> None:
    """Returns when an endpoint may be changed.

    Raises:
        Conflict: it is being changed, or failed.
    """
    if endpoint.status != "InService":
        raise Conflict(
            f"endpoint {endpoint.name} is {endpoint.status}: wait until it is InService "
            f"(`simcloud endpoint status {endpoint.name}`)"
        )


def _limits(
    endpoint: Endpoint, chosen: Scalable, there: Limits | None, choice: ScaleChoice
) -> Limits | None:
    """The limits that are to be set, checked with the number; None: those there are stay.

    Raises:
        InvalidRequest: they don't go together, or with the endpoint's kind.
    """
    if choice.count is not None and endpoint.kind == "realtime" and choice.count < 1:
        raise InvalidRequest("--instances", _ONE_STAYS)
    if choice.least is None and choice.most is None and choice.target is None:
        _check_count(choice.count, there)
        return None
    least = choice.least if choice.least is not None else there.least if there else None
    most = choice.most if choice.most is not None else there.most if there else None
    if least is None or most is None:
        raise InvalidRequest("--min", f"{chosen.name} has no limits yet: give --min and --max")
    if least > most:
        raise InvalidRequest("--min", f"{least} is above --max {most}")
    if least == 0 and endpoint.kind == "realtime":
        raise InvalidRequest("--min", _ONE_STAYS)
    target = choice.target if choice.target is not None else there.target if there else None
    limits = Limits(least=least, most=most, target=target)
    _check_count(choice.count, limits)
    return limits


def _check_count(count: int | None, limits: Limits | None) -> None:
    if count is not None and limits is not None and not limits.least <= count <= limits.most:
        raise InvalidRequest(
            "--instances",
            f"{count} is outside of {limits.least} to {limits.most}, where autoscaling would take "
            "it back: change --min and --max too",
        )


_ONE_STAYS = (
    "an endpoint of instances keeps one: only asynchronous ones and those of components go to "
    "none. `simcloud endpoint sleep` takes it down and keeps its configuration"
)


async def _scale_serverless(
    aws: Aws, endpoint: Endpoint, choice: ScaleChoice, patience: Patience
) -> Endpoint:
    if choice.least or choice.count is not None or choice.most is None or choice.target:
        raise InvalidRequest(
            "--max", "a serverless endpoint has no instances: --max alone, requests at once"
        )
    if choice.most > _MOST_SERVERLESS:
        raise InvalidRequest("--max", f"is at most {_MOST_SERVERLESS} for a serverless endpoint")
    variant = endpoint.variant(choice.part)
    await check_ours(aws, endpoint.arn, endpoint.name)
    await aws.ask(serverless_request(endpoint.name, variant.name, choice.most))
    return await settled(
        aws,
        endpoint.name,
        lambda seen: seen.variant(variant.name).serverless_concurrency == choice.most,
        patience,
    )
