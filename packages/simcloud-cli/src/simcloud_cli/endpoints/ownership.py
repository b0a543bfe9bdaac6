"""Which things in an account are ours: those that carry our tag, and no others.

Everything that `simcloud endpoint` makes carries ``simcloud:endpoint`` with the endpoint's name.
What has no such tag, or another name in it, is somebody else's: it is shown and never changed or
deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from simcloud.errors import PreconditionFailed
from simcloud_cli.endpoints.aws import Aws, Request

ENDPOINT_TAG: Final = "simcloud:endpoint"
"""Its value is the name of the endpoint that a thing was made for."""


async def tags_of(aws: Aws, arn: str) -> dict[str, str]:
    """The tags of anything of SageMaker's.

    Raises:
        NotFound: there is nothing of that ARN.
        SimcloudError: as ``Aws.ask``.
    """
    rows = await aws.rows(
        Request(
            service="sagemaker", operation="ListTags", parameters={"ResourceArn": arn}, resource=arn
        ),
        "Tags",
    )
    return {row["Key"]: row["Value"] for row in rows}


def is_ours(tags: Mapping[str, str], endpoint: str) -> bool:
    """Whether something with these tags was made for this endpoint."""
    return tags.get(ENDPOINT_TAG) == endpoint


async def check_ours(aws: Aws, arn: str, endpoint: str) -> dict[str, str]:
    """The tags of something that was made for an endpoint by us.

    Raises:
        PreconditionFailed: it was not: it is nobody's to change but its maker's.
        SimcloudError: as ``Aws.ask``.
    """
    tags = await tags_of(aws, arn)
    if not is_ours(tags, endpoint):
        raise PreconditionFailed(
            f"{arn} was not made by `simcloud endpoint` (it has no tag {ENDPOINT_TAG}={endpoint}): "
            "change it where it was made, in Terraform or in the console"
        )
    return tags
