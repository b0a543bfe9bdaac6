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


async def tagging_request(aws: Aws, arn: str, tags: Mapping[str, str]) -> Request | None:
    """AddTags of an endpoint that is there; None: it has the tags.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    found = await tags_of(aws, arn)
    if all(found.get(key) == value for key, value in tags.items()):
        return None
    return add_tags_request(arn, tags)


def add_tags_request(arn: str, tags: Mapping[str, str]) -> Request:
    """AddTags. After an endpoint's update, never before it has ended.

    Until then the old model answers, and a router would take its answers for the new one's.
    """
    return Request(
        service="sagemaker",
        operation="AddTags",
        parameters={
            "ResourceArn": arn,
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        },
        resource=arn,
    )


def check_same_model(tags: Mapping[str, str], digest: str, name: str) -> None:
    """Returns when an update leaves an endpoint the model that its tags name.

    While it is updated, the old model and the new one answer in turn, and a tag can only name one
    of them.

    Args:
        tags: the endpoint's.
        digest: of the model that it shall get; empty: nothing is known of it.
        name: the endpoint's.

    Raises:
        InvalidRequest: routers find it by its tags, and they name another model.
    """
    there = tags.get(DIGEST_TAG, "")
    if MODEL_TAG in tags and there and digest and there != digest:
        raise InvalidRequest(
            "NAME",
            f"routers find endpoint {name} by its tags, with the model of digest {there[:12]}; "
            f"this one has {digest[:12]}, and while an endpoint is updated both answer, under one "
            "digest: deploy the new model under a name of its own, then `simcloud endpoint delete "
            f"{name}`",
        )
