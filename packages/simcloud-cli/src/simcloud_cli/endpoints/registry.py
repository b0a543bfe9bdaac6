"""SageMaker's Model Registry: a version of a model, and who said that it may be deployed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from simcloud.errors import PreconditionFailed
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.deployment import Deployment, short_digest, tags

APPROVED: Final = "Approved"
PENDING: Final = "PendingManualApproval"
_CONTENT_TYPES = ("image/jpeg", "image/png", "application/json", "application/octet-stream")
_ANSWER_TYPES = ("application/json",)


@dataclass(frozen=True, slots=True)
class Version:
    """A version in a group."""

    arn: str
    approval: str
    """``Approved``, ``PendingManualApproval`` or ``Rejected``."""
    new: bool
    """Whether it was registered just now."""


async def register(aws: Aws, group: str, d: Deployment, *, approve: bool) -> Version:
    """The version of what is to be deployed; registered when the group has none of its content.

    Args:
        aws: where.
        group: the model package group's name; made when there is none.
        d: its image, model data and environment are the version.
        approve: whether it is approved by this call; else somebody has to.

    Raises:
        PreconditionFailed: it was rejected: approving it again is for whoever did that.
        SimcloudError: as ``Aws.ask``.
    """
    await _make_group(aws, group, d)
    digest = _digest(d)
    listed = await aws.rows(
        Request(
            service="sagemaker",
            operation="ListModelPackages",
            parameters={"ModelPackageGroupName": group, "MaxResults": 100},
            resource=f"model-package-group/{group}",
        ),
        "ModelPackageSummaryList",
    )
    for row in listed:
        if row.get("ModelPackageDescription", "").endswith(digest):
            return await _known(aws, row["ModelPackageArn"], row, approve=approve)
    approval = APPROVED if approve else PENDING
    made = await aws.ask(create_version_request(group, d, approval=approval))
    return Version(arn=made["ModelPackageArn"], approval=approval, new=True)


def create_version_request(group: str, d: Deployment, *, approval: str) -> Request:
    """CreateModelPackage. Versions take no tags: those of their group are theirs."""
    container: dict[str, object] = {"Image": d.image}
    if d.model_data:
        container["ModelDataUrl"] = d.model_data
    if d.environment:
        container["Environment"] = dict(sorted(d.environment.items()))
    specification: dict[str, object] = {
        "Containers": [container],
        "SupportedContentTypes": list(_CONTENT_TYPES),
        "SupportedResponseMIMETypes": list(_ANSWER_TYPES),
    }
    if d.instance_type:
        specification["SupportedRealtimeInferenceInstanceTypes"] = [d.instance_type]
        specification["SupportedTransformInstanceTypes"] = [d.instance_type]
    return Request(
        service="sagemaker",
        operation="CreateModelPackage",
        parameters={
            "ModelPackageGroupName": group,
            # By this a second run finds it; a list of versions shows no more of them than this.
            "ModelPackageDescription": f"simcloud {_digest(d)}",
            "InferenceSpecification": specification,
            "ModelApprovalStatus": approval,
        },
        resource=f"model-package/{group}/*",
    )


async def model_data_of(aws: Aws, arn: str) -> str:
    """Where the model data of an approved version are; empty: in its image.

    Raises:
        PreconditionFailed: the version is not approved.
        NotFound: there is none.
        SimcloudError: as ``Aws.ask``.
    """
    found = await aws.ask(
        Request(
            service="sagemaker",
            operation="DescribeModelPackage",
            parameters={"ModelPackageName": arn},
            resource=arn,
        )
    )
    approval = found.get("ModelApprovalStatus", "")
    if approval != APPROVED:
        raise PreconditionFailed(
            f"{arn} is {approval or 'not approved'}: whoever may approve it does so in SageMaker's "
            f"console, or by `aws sagemaker update-model-package --model-package-arn {arn} "
            "--model-approval-status Approved`"
        )
    containers = found.get("InferenceSpecification", {}).get("Containers", [])
    return str(containers[0].get("ModelDataUrl", "")) if containers else ""


async def _make_group(aws: Aws, group: str, d: Deployment) -> None:
    resource = f"model-package-group/{group}"
    found = await aws.find(
        Request(
            service="sagemaker",
            operation="DescribeModelPackageGroup",
            parameters={"ModelPackageGroupName": group},
            resource=resource,
        )
    )
    if found is None:
        await aws.ask(
            Request(
                service="sagemaker",
                operation="CreateModelPackageGroup",
                parameters={"ModelPackageGroupName": group, "Tags": tags(d.name)},
                resource=resource,
            )
        )


async def _known(aws: Aws, arn: str, row: dict[str, object], *, approve: bool) -> Version:
    approval = str(row.get("ModelApprovalStatus", ""))
    if approve and approval == "Rejected":
        raise PreconditionFailed(
            f"{arn} was rejected: who rejected it takes that back, or the model changes"
        )
    if approve and approval != APPROVED:
        await aws.ask(
            Request(
                service="sagemaker",
                operation="UpdateModelPackage",
                parameters={"ModelPackageArn": arn, "ModelApprovalStatus": APPROVED},
                resource=arn,
            )
        )
        approval = APPROVED
    return Version(arn=arn, approval=approval, new=False)


def _digest(d: Deployment) -> str:
    return short_digest([d.image, d.model_data, d.environment])
