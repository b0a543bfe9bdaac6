"""Tags by which a router finds an endpoint without an entry in its catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simcloud.errors import InvalidRequest
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.deployment import Deployment
from simcloud_cli.endpoints.ownership import tags_of

MODEL_TAG: Final = "simcloud:model"
DIGEST_TAG: Final = "simcloud:digest"
_FOUND_KINDS: Final = frozenset({"realtime", "serverless"})
"""Kinds that need nothing but the endpoint's name."""


def discovery_tags(d: Deployment, model: Mapping[str, Any] | None) -> dict[str, str]:
    """What an endpoint says of itself to routers that look for it.

    Args:
        d: the endpoint.
        model: the model's entry as the router's catalogue has it.

    Raises:
        InvalidRequest: nothing is known of the model, or its kind needs more than a name.
    """
    if model is None:
        raise InvalidRequest(
            "--discover",
            "nothing says which model it is (no model.json beside the archive): package it by "
            "`simcloud endpoint package`, or tag the endpoint by hand",
        )
    if d.kind not in _FOUND_KINDS:
        raise InvalidRequest(
            "--discover", f"a router can't ask kind {d.kind} by its name alone: use --catalog"
        )
    return {MODEL_TAG: str(model["name"]), DIGEST_TAG: str(model["digest"])}


async def make_discoverable(aws: Aws, arn: str, tags: Mapping[str, str]) -> bool:
    """Tags an endpoint; False: it had them.

    After its update, since a router that saw another digest on an endpoint that still serves the
    old model would mix the two.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    found = await tags_of(aws, arn)
    if all(found.get(key) == value for key, value in tags.items()):
        return False
    await aws.ask(
        Request(
            service="sagemaker",
            operation="AddTags",
            parameters={
                "ResourceArn": arn,
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            },
            resource=arn,
        )
    )
    return True
