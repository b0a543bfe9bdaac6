"""SageMaker's Model Registry: a version of a model, and who said that it may be deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

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


@dataclass(frozen=True, slots=True)
class Registration:
    """What has to be asked so that a group has a version; nothing: it has it."""

    requests: tuple[Request, ...]
    """In the order in which they are sent."""
    arn: str
    """The version's; empty: the last request makes it, and answers with it."""
    approval: str
    """The version's, once all of them were asked."""


async def plan_registration(aws: Aws, group: str, d: Deployment, *, approve: bool) -> Registration:
    """How a group gets the version of what is to be deployed; AWS is only read.

    Args:
        aws: where.
        group: the model package group's name; made when there is none.
        d: its image, model data and environment are the version.
        approve: whether it shall be approved; else somebody has to.

    Raises:
        PreconditionFailed: it was rejected: approving it again is for whoever did that.
        InvalidRequest: a request has not the shape that AWS asks for.
        SimcloudError: as ``Aws.ask``.
    """
    approval = APPROVED if approve else PENDING
    version = create_version_request(group, d, approval=approval)
    if await aws.find(_describe_group(group)) is None:
        registration = Registration((_create_group(group, d), version), "", approval)
    else:
        known = await _of_listed(aws, group, d, approve=approve)
        registration = known or Registration((version,), "", approval)
    for request in registration.requests:
        aws.check(request)
    return registration


async def register(aws: Aws, registration: Registration) -> Version:
    """Asks for all of a plan; the version.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    made: dict[str, Any] = {}
    for request in registration.requests:
        made = await aws.ask(request)
    return Version(
        arn=registration.arn or made["ModelPackageArn"],
        approval=registration.approval,
        new=not registration.arn,
    )


async def _of_listed(aws: Aws, group: str, d: Deployment, *, approve: bool) -> Registration | None:
    """With a version that the group has already; None: it has none of that content."""
    listed = await aws.rows(
        Request(
            service="sagemaker",
            operation="ListModelPackages",
            parameters={"ModelPackageGroupName": group, "MaxResults": 100},
            resource=f"model-package-group/{group}",
        ),
        "ModelPackageSummaryList",
    )
    digest = _digest(d)
    for row in listed:
        if row.get("ModelPackageDescription", "").endswith(digest):
            return _known(row["ModelPackageArn"], row, approve=approve)
    return None


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


def _describe_group(group: str) -> Request:
    return Request(
        service="sagemaker",
        operation="DescribeModelPackageGroup",
        parameters={"ModelPackageGroupName": group},
        resource=f"model-package-group/{group}",
    )


def _create_group(group: str, d: Deployment) -> Request:
    return Request(
        service="sagemaker",
        operation="CreateModelPackageGroup",
        parameters={"ModelPackageGroupName": group, "Tags": tags(d.name)},
        resource=f"model-package-group/{group}",
    )


def _known(arn: str, row: Mapping[str, object], *, approve: bool) -> Registration:
    approval = str(row.get("ModelApprovalStatus", ""))
    if approve and approval == "Rejected":
        raise PreconditionFailed(
            f"{arn} was rejected: who rejected it takes that back, or the model changes"
        )
    if not approve or approval == APPROVED:
        return Registration((), arn, approval)
    request = Request(
        service="sagemaker",
        operation="UpdateModelPackage",
        parameters={"ModelPackageArn": arn, "ModelApprovalStatus": APPROVED},
        resource=arn,
    )
    return Registration((request,), arn, APPROVED)


def _digest(d: Deployment) -> str:
    return short_digest([d.image, d.model_data, d.environment])
