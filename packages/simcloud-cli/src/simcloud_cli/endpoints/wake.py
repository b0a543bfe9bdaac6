"""An endpoint that sleeps, woken: it is what it was before, and answers."""

from __future__ import annotations

from simcloud.errors import NotFound
from simcloud_cli.endpoints.asleep import (
    ASLEEP_TAG,
    Before,
    forget,
    kept_config,
    parse_before,
    tagged_arn,
)
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.capacity import Limits, apply_limits, limits_of, set_count, settled
from simcloud_cli.endpoints.describe import Endpoint, find_endpoint
from simcloud_cli.endpoints.ownership import check_ours, tags_of
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

    Raises:
        NotFound: there is no such endpoint, asleep or not.
        PreconditionFailed: it was not made by us, or it failed.
        DeadlineExceeded: it was not in service in time.
    """
    endpoint = await find_endpoint(aws, name)
    if endpoint is None:
        return await _make_again(aws, name, patience)
    if endpoint.kind in {"component", "async"}:
        await check_ours(aws, endpoint.arn, name)
        return await _from_none(aws, endpoint, patience)
    return await settled(aws, name, lambda _: True, patience)


async def _from_none(aws: Aws, endpoint: Endpoint, patience: Patience) -> Endpoint:
    limits = await limits_of(aws, scalables(endpoint))
    for item in scalables(endpoint):
        arn = tagged_arn(endpoint, item)
        before = parse_before((await tags_of(aws, arn)).get(ASLEEP_TAG, "")).get(item.name)
        if before is not None:
            await _restore(aws, item, before, there=limits.get(item.resource_id))
            await forget(aws, arn)
        elif item.current == 0:
            await aws.ask(count_request(item, 1))
    return await settled(
        aws, endpoint.name, lambda found: all(i.current for i in scalables(found)), patience
    )


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
    for item in scalables(endpoint):
        before = kept.before.get(item.name)
        if before is None:
            continue
        # The number before the limits, which would move it.
        if before.count > 0 and before.count != item.current:
            endpoint = await set_count(aws, item, before.count, patience)
        if before.limits is not None:
            await apply_limits(aws, item, before.limits, patience)
    if kept.before:
        await forget(aws, kept.arn)
    return endpoint
