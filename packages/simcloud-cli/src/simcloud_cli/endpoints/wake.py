"""An endpoint that sleeps, woken: it is what it was before, and answers."""

from __future__ import annotations

from collections.abc import Mapping

from simcloud.errors import NotFound
from simcloud_cli.endpoints.asleep import (
    ASLEEP_TAG,
    Before,
    forget,
    kept_config,
    parse_before,
)
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.capacity import Limits, apply_limits, limits_of, set_count, settled
from simcloud_cli.endpoints.describe import Endpoint, find_endpoint
from simcloud_cli.endpoints.nights import Night, night_of
from simcloud_cli.endpoints.ownership import check_ours, is_ours, tags_of
from simcloud_cli.endpoints.scaling import (
    Scalable,
    count_request,
    deregister_request,
    register_request,
    scalables,
)
from simcloud_cli.endpoints.waiting import Patience


async def wake(aws: Aws, name: str, patience: Patience) -> Endpoint:
    """Wakes an endpoint and waits until it answers; awake already, it stays as it is.

    What an interrupted wake left undone is done.

    Raises:
        NotFound: there is no such endpoint, asleep or not.
        PreconditionFailed: it was not made by us, it failed, or nothing says of which of several
            configurations it is made.
        DeadlineExceeded: it was not in service in time.
    """
    endpoint = await find_endpoint(aws, name)
    if endpoint is None:
        return await _make_again(aws, name, patience)
    if endpoint.kind in {"component", "async"}:
        await check_ours(aws, endpoint.arn, name)
        return await _from_none(aws, endpoint, patience)
    seen = await settled(aws, name, lambda _: True, patience)
    if seen.kind == "realtime" and seen.config_arn:
        return await _go_on(aws, seen, patience)
    return seen


async def _go_on(aws: Aws, endpoint: Endpoint, patience: Patience) -> Endpoint:
    """What a wake that was interrupted left undone: the tag is taken away last."""
    tags = await tags_of(aws, endpoint.config_arn)
    if ASLEEP_TAG not in tags or not is_ours(tags, endpoint.name):
        return endpoint
    await check_ours(aws, endpoint.arn, endpoint.name)
    limits = await limits_of(aws, scalables(endpoint))
    undone = {}
    for name, before in parse_before(tags[ASLEEP_TAG]).items():
        there = next(
            (limits.get(item.resource_id) for item in scalables(endpoint) if item.name == name),
            None,
        )
        # Limits come before the policy that has the target; whole, they were set since.
        if there is None or (there.target is None and before.limits is not None):
            undone[name] = before
    endpoint = await _give_back(aws, endpoint, undone, patience)
    await forget(aws, endpoint.config_arn)
    return endpoint


async def _give_back(
    aws: Aws, endpoint: Endpoint, were: Mapping[str, Before], patience: Patience
) -> Endpoint:
    for item in scalables(endpoint):
        before = were.get(item.name)
        if before is None:
            continue
        # The number before the limits, which would move it.
        if before.count > 0 and before.count != item.current:
            endpoint = await set_count(aws, item, before.count, patience)
        if before.limits is not None:
            await apply_limits(aws, item, before.limits, patience)
    return endpoint


async def _from_none(aws: Aws, endpoint: Endpoint, patience: Patience) -> Endpoint:
    limits = await limits_of(aws, scalables(endpoint))
    for item in scalables(endpoint):
        there = limits.get(item.resource_id)
        night = await night_of(aws, endpoint, item, there)
        if night.asleep:
            await _restore(aws, item, _awake(item, night, there, patience), there=there)
        elif item.current == 0:
            await aws.ask(count_request(item, 1))
        # The next night is woken from by it too.
        if night.tagged and not night.scheduled:
            await forget(aws, night.arn)
    return await settled(
        aws, endpoint.name, lambda found: all(i.current for i in scalables(found)), patience
    )


def _awake(item: Scalable, night: Night, there: Limits | None, patience: Patience) -> Before:
    """What something shall be: as it was, and never within limits of none to none."""
    if night.before is not None and (night.before.limits is not None or not night.scheduled):
        return night.before
    count = max(1, night.before.count) if night.before is not None else 1
    if there is None:
        return Before(count=count, limits=None)
    # Without limits it would lose its scheduled actions too.
    patience.say(
        f"{item.name}: {count} to {count} {item.unit}; no other limits of it are known, "
        "`simcloud endpoint scale` sets some"
    )
    return Before(count=count, limits=Limits(least=count, most=count))


async def _restore(aws: Aws, item: Scalable, before: Before, *, there: Limits | None) -> None:
    if before.limits is not None:
        await aws.ask(register_request(item, least=before.limits.least, most=before.limits.most))
        if before.limits.least > 0:
            # That has begun to bring it back, and what changes can't be changed.
            return
    elif there is not None:
        await aws.find(deregister_request(item))
    # Within its limits nothing may be a number too, and it is to answer now.
    await aws.ask(count_request(item, max(1, before.count)))


async def _make_again(aws: Aws, name: str, patience: Patience) -> Endpoint:
    kept = await kept_config(aws, name)
    if kept is None:
        raise NotFound(
            f"there is no endpoint {name} in {aws.region}, and no configuration of it that "
            "`simcloud endpoint` made: deploy it"
        )
    were = kept.before
    await aws.ask(
        Request(
            service="sagemaker",
            operation="CreateEndpoint",
            parameters={
                "EndpointName": name,
                "EndpointConfigName": kept.name,
                "Tags": [{"Key": key, "Value": value} for key, value in kept.tags.items()],
            },
            resource=f"endpoint/{name}",
        )
    )
    endpoint = await settled(aws, name, lambda _: True, patience)
    endpoint = await _give_back(aws, endpoint, were, patience)
    if were:
        await forget(aws, kept.arn)
    return endpoint
