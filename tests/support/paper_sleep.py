"""Putting the paper endpoint to sleep and waking it, and what AWS is asked for it."""

from __future__ import annotations

from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.describe import Endpoint
from simcloud_cli.endpoints.sleep import sleep
from simcloud_cli.endpoints.wake import wake
from support.aws_stubs import ANY, PaperAws, arn
from support.paper_endpoints import CONFIG, NAME, Told

VARIANT = f"endpoint/{NAME}/variant/AllTraffic"
COMPONENT = f"inference-component/{NAME}"
ENDPOINT_ARN = arn(f"endpoint/{NAME}")
CONFIG_ARN = arn(f"endpoint-config/{CONFIG}")
COMPONENT_ARN = arn(COMPONENT)
SCALING = "application-autoscaling"
NEWER = "detector-fedcba9876"
FOUND_BY = {"Key": "simcloud:model", "Value": "nanodet-g"}


async def put_to_sleep() -> str:
    """`simcloud endpoint sleep` of the endpoint; what it says."""
    return await sleep(Aws(AwsPlace()), NAME, Told().patience)


async def woken() -> Endpoint:
    """`simcloud endpoint wake` of the endpoint; what there is then."""
    return await wake(Aws(AwsPlace()), NAME, Told().patience)


def remembers(paper: PaperAws, resource_arn: str, value: str, *also: dict[str, str]) -> None:
    """AWS is told what was before, in a tag beside others."""
    tags = [*also, {"Key": "simcloud:asleep", "Value": value}]
    paper.answers("sagemaker", "AddTags", {"ResourceArn": resource_arn, "Tags": tags})


def asleep(value: str) -> dict[str, str]:
    """The tag that says what was before."""
    return {"Key": "simcloud:asleep", "Value": value}


def sets_copies(paper: PaperAws, copies: int) -> None:
    """AWS is told how many copies the component is to have."""
    paper.answers(
        "sagemaker",
        "UpdateInferenceComponentRuntimeConfig",
        {"InferenceComponentName": NAME, "DesiredRuntimeConfig": {"CopyCount": copies}},
        {"InferenceComponentArn": COMPONENT_ARN},
    )


def forgets(paper: PaperAws, resource_arn: str) -> None:
    """AWS is told to drop that tag."""
    paper.answers(
        "sagemaker",
        "DeleteTags",
        {"ResourceArn": resource_arn, "TagKeys": ["simcloud:asleep"]},
    )


def registers(paper: PaperAws, resource: str, least: int, most: int) -> None:
    """AWS is told limits of scaling."""
    paper.answers(
        SCALING,
        "RegisterScalableTarget",
        {
            "ServiceNamespace": "sagemaker",
            "ResourceId": resource,
            "ScalableDimension": ANY,
            "MinCapacity": least,
            "MaxCapacity": most,
        },
    )
