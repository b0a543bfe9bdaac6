"""What is kept of an endpoint that sleeps: a tag with what it was, and its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from simcloud.errors import Corruption, InvalidRequest, PreconditionFailed
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.capacity import Limits
from simcloud_cli.endpoints.describe import Endpoint, endpoint_request
from simcloud_cli.endpoints.ownership import is_ours, tags_of
from simcloud_cli.endpoints.scaling import Scalable
from simcloud_cli.endpoints.scheduler import scheduled_config
from simcloud_cli.endpoints.waiting import Patience, wait_until

ASLEEP_TAG: Final = "simcloud:asleep"
"""What was there before: ``<variant or component>=<number>[:<min>:<max>[:<target>]]``."""
NAME_PART: Final = 40
"""Characters of an endpoint's name that those of what was made for it begin with, at least."""
_TAG_LENGTH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What something was before it slept."""

    count: int
    limits: Limits | None

    def __str__(self) -> str:
        words = [str(self.count)]
        if self.limits is not None:
            words += [str(self.limits.least), str(self.limits.most)]
            if self.limits.target is not None:
                words.append(f"{self.limits.target:g}")
        return ":".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptConfig:
    """A configuration that was made for an endpoint."""

    name: str
    arn: str
    asleep: str
    """What ``ASLEEP_TAG`` says; empty: no endpoint slept with it."""
    tags: dict[str, str]
    """Those of the endpoint, as it slept."""

    @property
    def before(self) -> dict[str, Before]:
        """What the endpoint was, by variant.

        Raises:
            Corruption: as ``parse_before``.
        """
        return parse_before(self.asleep)


def parse_before(text: str) -> dict[str, Before]:
    """What ``ASLEEP_TAG`` says, by variant or component.

    Raises:
        Corruption: the tag was changed by somebody else.
    """
    found = {}
    try:
        for part in text.split():
            name, _, numbers = part.partition("=")
            count, *rest = numbers.split(":")
            limits = None
            if rest:
                limits = Limits(
                    least=int(rest[0]),
                    most=int(rest[1]),
                    target=float(rest[2]) if len(rest) > 2 else None,
                )
            found[name] = Before(count=int(count), limits=limits)
    except (ValueError, IndexError) as error:
        raise Corruption(
            f"the tag {ASLEEP_TAG} says {text!r}, which is not what we wrote: delete the tag, and "
            "set limits again by `simcloud endpoint scale`"
        ) from error
    return found


async def configs_of(aws: Aws, name: str) -> list[KeptConfig]:
    """All configurations that were made for an endpoint, the newest first.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    rows = await aws.rows(
        Request(
            service="sagemaker",
            operation="ListEndpointConfigs",
            parameters={
                "NameContains": name[:NAME_PART],
                "SortBy": "CreationTime",
                "SortOrder": "Descending",
            },
        ),
        "EndpointConfigs",
    )
    configs = []
    for row in rows:
        # Somebody else's may contain the name; their tags need not be ours to read.
        if not row["EndpointConfigName"].startswith(name[:NAME_PART]):
            continue
        found = await tags_of(aws, row["EndpointConfigArn"])
        if is_ours(found, name):
            configs.append(
                KeptConfig(
                    name=row["EndpointConfigName"],
                    arn=row["EndpointConfigArn"],
                    asleep=found.get(ASLEEP_TAG, ""),
                    tags=lasting(found),
                )
            )
    return configs


async def makers(aws: Aws, name: str, configs: Sequence[KeptConfig]) -> list[KeptConfig]:
    """Those of an endpoint's configurations of which it may be made again.

    The one that it slept with; else the one that its schedule makes it of; else all: the newest
    may be one that an alarm took back.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    asleep = [config for config in configs if config.asleep]
    if asleep or len(configs) < 2:
        return asleep or list(configs)
    scheduled = await scheduled_config(aws, name)
    return [config for config in configs if config.name == scheduled] or list(configs)


async def kept_config(aws: Aws, name: str) -> KeptConfig | None:
    """The configuration of which an endpoint that is not there is made; None: there is none.

    Raises:
        PreconditionFailed: it may be one of several.
        SimcloudError: as ``Aws.ask``.
    """
    found = await makers(aws, name, await configs_of(aws, name))
    if len(found) > 1:
        names = ", ".join(config.name for config in found)
        raise PreconditionFailed(
            f"{name} may be made of {names}, and nothing says which of them it had: "
            "`simcloud endpoint deploy` it as it shall be"
        )
    return found[0] if found else None


async def forget_others(aws: Aws, endpoint: Endpoint) -> None:
    """Takes the tag off all configurations but the one that an endpoint has now.

    It stays on one that slept when another was deployed in its place, or whose sleep failed.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    for request in await forget_others_requests(aws, endpoint.name, config=endpoint.config):
        await aws.ask(request)


async def forget_others_requests(aws: Aws, name: str, *, config: str) -> tuple[Request, ...]:
    """What ``forget_others`` asks; AWS is only read.

    Args:
        aws: the account.
        name: the endpoint's.
        config: name of the configuration that it has, or gets.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    return tuple(
        _forget_request(kept.arn)
        for kept in await configs_of(aws, name)
        if kept.asleep and kept.name != config
    )


async def gone(aws: Aws, name: str, patience: Patience) -> None:
    """Returns when there is no endpoint of this name.

    Raises:
        DeadlineExceeded: it was still there.
    """
    await wait_until(
        lambda: aws.find(endpoint_request(name)),
        done=lambda seen: seen is None,
        state=lambda seen: "gone" if seen is None else str(seen["EndpointStatus"]),
        what=f"endpoint {name}",
        patience=patience,
    )


def tagged_arn(endpoint: Endpoint, item: Scalable) -> str:
    """Where the tag of a variant or component is."""
    if item.kind == "component":
        return endpoint.component(item.name).arn
    return endpoint.arn


def lasting(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that an endpoint has again when it is made again: AWS's own can't be given."""
    return {
        key: value
        for key, value in tags.items()
        if key != ASLEEP_TAG and not key.lower().startswith("aws:")
    }


async def remember(
    aws: Aws,
    arn: str,
    before: Mapping[str, Before],
    *,
    also: Mapping[str, str] | None = None,
) -> None:
    """Writes what something is into its tag.

    Args:
        aws: the account.
        arn: what is tagged.
        before: what they were, by variant or component.
        also: further tags, of what will not be there.

    Raises:
        InvalidRequest: it does not fit into a tag.
    """
    value = " ".join(f"{name}={was}" for name, was in before.items())
    if len(value) > _TAG_LENGTH:
        raise InvalidRequest(
            "NAME",
            f"what its {len(before)} variants are does not fit into a tag: scale them by hand",
        )
    await aws.ask(
        Request(
            service="sagemaker",
            operation="AddTags",
            parameters={
                "ResourceArn": arn,
                "Tags": [
                    {"Key": name, "Value": text}
                    for name, text in {**(also or {}), ASLEEP_TAG: value}.items()
                ],
            },
            resource=arn,
        )
    )


async def forget(aws: Aws, arn: str) -> None:
    """Takes the tag away."""
    await aws.ask(_forget_request(arn))


def _forget_request(arn: str) -> Request:
    return Request(
        service="sagemaker",
        operation="DeleteTags",
        parameters={"ResourceArn": arn, "TagKeys": [ASLEEP_TAG]},
        resource=arn,
    )
