"""An endpoint put to sleep, so that nothing of it bills by the hour.

What its kind allows: components go to no copy and an asynchronous endpoint to no instance, both by
limits of none to none. An endpoint of instances can't be without one, so that it is deleted; its
configuration stays, and makes it again. What the limits were is kept in a tag.
"""

from __future__ import annotations

from dataclasses import replace

from simcloud.errors import Conflict, NotFound, PermissionDenied, PreconditionFailed
from simcloud_cli.endpoints.asleep import (
    ASLEEP_TAG,
    Before,
    configs_of,
    forget,
    forget_others,
    gone,
    lasting,
    makers,
    parse_before,
    remember,
    tagged_arn,
)
from simcloud_cli.endpoints.aws import Aws
from simcloud_cli.endpoints.capacity import Limits, check_steady, limits_of, settled
from simcloud_cli.endpoints.describe import Endpoint, endpoint_request, find_endpoint
from simcloud_cli.endpoints.ownership import ENDPOINT_TAG, check_ours
from simcloud_cli.endpoints.scaling import (
    Scalable,
    count_request,
    deregister_request,
    register_request,
    scalables,
)
from simcloud_cli.endpoints.waiting import Patience


async def sleep(aws: Aws, name: str, patience: Patience) -> str:
    """Puts an endpoint to sleep; says in a line what is left of it.

    Asleep already, or serverless, it stays as it is.

    Raises:
        NotFound: there is no such endpoint, asleep or not.
        PreconditionFailed: it was not made by us.
        Conflict: it is being changed.
        DeadlineExceeded: it was not asleep in time.
    """
    endpoint = await find_endpoint(aws, name)
    if endpoint is None:
        kept = await makers(aws, name, await configs_of(aws, name))
        if not kept:
            raise NotFound(f"there is no endpoint {name} in {aws.region}")
        names = ", ".join(config.name for config in kept)
        return f"{name} sleeps already: configuration {names} is kept, nothing bills"
    if endpoint.kind == "serverless":
        warm = sum(item.provisioned_concurrency for item in endpoint.variants)
        kept_warm = f"; {warm} provisioned requests bill all the time" if warm else ""
        return f"{name} is serverless: nothing of it runs while nobody asks{kept_warm}"
    check_steady(endpoint)
    tags = await check_ours(aws, endpoint.arn, name)
    if endpoint.kind == "realtime":
        return await _take_down(aws, endpoint, tags, patience)
    return await _to_none(aws, endpoint, patience)


async def _take_down(aws: Aws, endpoint: Endpoint, tags: dict[str, str], patience: Patience) -> str:
    if not endpoint.config_arn:
        raise PreconditionFailed(
            f"configuration {endpoint.config} of {endpoint.name} is gone: deleted, the endpoint "
            "could not be made again; `simcloud endpoint deploy` it first"
        )
    kept = await check_ours(aws, endpoint.config_arn, endpoint.name)
    earlier = parse_before(kept.get(ASLEEP_TAG, ""))
    items = scalables(endpoint)
    limits = await limits_of(aws, items)
    # Routers find endpoints by their tags, which go with the endpoint.
    also = {key: value for key, value in lasting(tags).items() if key != ENDPOINT_TAG}
    await forget_others(aws, endpoint)
    before = {
        item.name: _was(item, limits.get(item.resource_id), earlier.get(item.name))
        for item in items
    }
    await remember(aws, endpoint.config_arn, before, also=also)
    try:
        await aws.find(endpoint_request(endpoint.name, "DeleteEndpoint"))
    except (Conflict, PermissionDenied):
        # It stays awake, as it is; after no answer at all it may be gone.
        if not earlier:
            await forget(aws, endpoint.config_arn)
        raise
    # Before the delete an endpoint that stays would have lost them.
    for item in items:
        if item.resource_id in limits:
            await aws.find(deregister_request(item))
    await gone(aws, endpoint.name, patience)
    return (
        f"{endpoint.name} sleeps: it is deleted, configuration {endpoint.config} is kept, nothing "
        f"bills; `simcloud endpoint wake {endpoint.name}` makes it again"
    )


def _was(item: Scalable, there: Limits | None, earlier: Before | None) -> Before:
    """What a variant is, by its tag where a sleep or a wake that was interrupted left it less."""
    if earlier is None or earlier.limits is None:
        return Before(count=item.desired, limits=there)
    # Limits come before the policy that has the target.
    less = there is None or there == replace(earlier.limits, target=None)
    return earlier if less else Before(count=item.desired, limits=there)


async def _to_none(aws: Aws, endpoint: Endpoint, patience: Patience) -> str:
    items = scalables(endpoint)
    limits = await limits_of(aws, items)
    for item in items:
        arn = tagged_arn(endpoint, item)
        there = limits.get(item.resource_id)
        # Asleep already, or on its way there, it is remembered as it was awake.
        if there.most > 0 if there is not None else item.desired > 0:
            await remember(aws, arn, {item.name: Before(count=item.desired, limits=there)})
        if there is None and item.kind == "component":
            await aws.ask(count_request(item, 0))
        else:
            # "RegisterScalableTarget changes the resource's current capacity to a value that is
            # inside of this range", by its API reference.
            await aws.ask(register_request(item, least=0, most=0))
    seen = await settled(
        aws, endpoint.name, lambda found: not any(i.current for i in scalables(found)), patience
    )
    standing = [item for item in seen.variants if item.managed_min]
    if standing:
        # Copies are gone, instances are the endpoint's own business.
        return (
            f"{endpoint.name} has no copies, but its configuration keeps {standing[0].managed_min} "
            f"{standing[0].instance_type}, which bills: deploy it again with --instances 0"
        )
    return f"{endpoint.name} sleeps: `simcloud endpoint wake {endpoint.name}` wakes it"
