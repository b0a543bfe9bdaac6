"""All that `simcloud endpoint deploy` would ask, its digest, and the tags that it asks for last."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud.spec.canonical import canonical_bytes, digest
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.deploy import Plan, plan_deployment
from simcloud_cli.endpoints.deploy_output import listed
from simcloud_cli.endpoints.deployment import Deployment
from simcloud_cli.endpoints.discovery import add_tags_request, tagging_request
from simcloud_cli.endpoints.registry import APPROVED, Registration
from simcloud_cli.endpoints.update import Update

_UNTAGGED: Final = (
    "the same command tags it for routers that look for endpoints, once its update has ended: "
    "until then the old model answers"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for beside the deployment itself."""

    update: Update
    """How an endpoint that serves becomes another."""
    tags: Mapping[str, str]
    """By which routers find it; none: they shall not."""
    digest: str
    """Of its model, as the router's catalogue has it; empty: not known."""
    waits: bool
    """Whether the command waits until it is in service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """All that would be asked, read from AWS as it is now."""

    requests: tuple[Request, ...]
    """In the order in which they would be sent."""
    left: tuple[str, ...]
    """What they don't tell."""
    deployment: Plan | None
    """Of the endpoint; None: it waits for a version that is not approved or not made yet."""
    region: str

    @property
    def digest(self) -> str:
        """SHA-256 over region and requests as RFC 8785 JSON: equal if the same would be asked."""
        return digest(canonical_bytes({"region": self.region, "plan": listed(self.requests)}))

    @property
    def document(self) -> dict[str, Any]:
        """``plan``, ``plan_digest`` and ``left`` of the command's document."""
        return {
            "plan": listed(self.requests),
            "plan_digest": self.digest,
            "left": list(self.left),
        }


def check_digest(found: Planned, approved: str) -> None:
    """Returns when what would be asked is what somebody approved.

    Raises:
        PreconditionFailed: it is not.
    """
    if found.digest != approved:
        raise PreconditionFailed(
            f"the plan now is {found.digest[:16]}…, not the approved {approved[:16]}…: the options "
            "are others or AWS changed since, and nothing was asked; print it again by --plan and "
            "approve that"
        )


def checked_digest(text: str) -> str:
    """``--plan-digest`` as it was given.

    Raises:
        InvalidRequest: it is none.
    """
    if text and not re.fullmatch(r"[0-9a-f]{64}", text):
        raise InvalidRequest(
            "--plan-digest", f"expected the 64 hex digits that --plan prints, found {text!r}"
        )
    return text


async def planned(
    aws: Aws, d: Deployment, asked: Asked, registration: Registration | None
) -> Planned:
    """All that `simcloud endpoint deploy` would ask; AWS is only read.

    Args:
        aws: where.
        d: the deployment, not yet by a version of the Model Registry.
        asked: what is asked for with it.
        registration: how it becomes a version; None: it does not.

    Raises:
        SimcloudError: as ``plan_deployment``.
    """
    requests: list[Request] = []
    left = []
    if registration is not None:
        requests += registration.requests
        if registration.approval != APPROVED:
            return Planned(
                requests=registration.requests,
                left=("not deployed: it waits for approval",),
                deployment=None,
                region=aws.region,
            )
        if not registration.arn:
            left.append(
                "VERSION is known once it is made: model and configuration, named by what is in "
                "them, then have another ending"
            )
        d = by_version(d, registration.arn or _arn(d, aws, f"{_package(registration)}/VERSION"))
    plan = await plan_deployment(aws, d, asked.update, digest=asked.digest)
    requests += plan.requests
    if plan.unseen:
        left.append(plan.unseen)
    if asked.tags:
        # In ARNs the names of endpoints are in lower case.
        made = add_tags_request(_arn(d, aws, f"endpoint/{d.name.lower()}"), asked.tags)
        tagging = await tagging_request(aws, plan.arn, asked.tags) if plan.arn else made
        if tagging is not None and _too_early(plan, asked):
            left.append(_UNTAGGED)
        elif tagging is not None:
            aws.check(tagging)
            requests.append(tagging)
    made_now = registration is not None and not registration.arn
    return Planned(
        requests=tuple(requests),
        left=tuple(left),
        deployment=None if made_now else plan,
        region=aws.region,
    )


async def tag(aws: Aws, arn: str, asked: Asked, plan: Plan) -> tuple[bool, list[str]]:
    """Tags an endpoint whose plan was carried out, if it lacks the tags and the model is there.

    Returns:
        Whether it was tagged now, and what is left to do.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    request = await tagging_request(aws, arn, asked.tags)
    if request is None:
        return False, []
    if _too_early(plan, asked):
        return False, [_UNTAGGED]
    await aws.ask(request)
    return True, []


def by_version(d: Deployment, arn: str) -> Deployment:
    """The deployment as a version of the Model Registry, which has image, model and environment."""
    return d.model_copy(update={"package": arn, "image": "", "model_data": "", "environment": {}})


def _too_early(plan: Plan, asked: Asked) -> bool:
    return plan.old_may_answer and not asked.waits


def _package(registration: Registration) -> str:
    group = registration.requests[-1].parameters["ModelPackageGroupName"]
    return f"model-package/{group}"


def _arn(d: Deployment, aws: Aws, resource: str) -> str:
    """The ARN of something that is not there yet.

    In the account of the role: SageMaker takes roles of its own account alone.
    """
    _, partition, _, _, account, _ = d.role.split(":", 5)
    return f"arn:{partition}:sagemaker:{aws.region}:{account}:{resource}"
