"""`simcloud endpoint deploy`: from options to an endpoint and its entry in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from simcloud.errors import InvalidRequest
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.deploy import Plan, carry_out, plan_deployment
from simcloud_cli.endpoints.deploy_output import print_deployed
from simcloud_cli.endpoints.deployment import Deployment
from simcloud_cli.endpoints.discovery import discovery_tags
from simcloud_cli.endpoints.planned import (
    Asked,
    by_version,
    check_digest,
    checked_digest,
    planned,
    tag,
)
from simcloud_cli.endpoints.prices import billing_line
from simcloud_cli.endpoints.registry import APPROVED, plan_registration, register
from simcloud_cli.endpoints.source import Found, Source, find_model, upload
from simcloud_cli.endpoints.targets import (
    ChangedCatalog,
    changed_catalog,
    model_with_target,
    target_entry,
)
from simcloud_cli.endpoints.update import Update
from simcloud_cli.endpoints.waiting import Patience
from simcloud_cli.interrupt import run_async
from simcloud_cli.output import console, print_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How it is gone about."""

    plan: bool
    """Only print what would be asked."""
    plan_digest: str
    """Digest of the plan that somebody approved; empty: nobody has to."""
    wait_minutes: float
    """0: don't wait."""
    registry: str
    """Group of the Model Registry, or empty."""
    approve: bool
    """Whether a new version is approved at once."""
    catalog: Path | None
    """The router's catalogue that gets the endpoint."""
    canary_percent: float | None
    """Share of the requests, where the endpoint is a canary."""
    discover: bool
    """Whether routers that look for endpoints shall find it."""


def deploy_endpoint(
    fields: Mapping[str, object],
    *,
    source: Source,
    update: Mapping[str, object],
    ways: Ways,
    place: AwsPlace,
    as_json: bool,
) -> None:
    """Deploys, and prints what was done and what the router's catalogue needs.

    Args:
        fields: of ``Deployment``, but for what comes of the source.
        source: of the model.
        update: fields of ``Update``.
        ways: how.
        place: account and region.
        as_json: one JSON document in place of lines.

    Raises:
        SimcloudError: as ``simcloud_cli.endpoints.deploy`` says.
    """
    document = run_async(_deploy(fields, source, update, ways, place))
    if as_json:
        print_json(document)
        return
    print_deployed(document)


async def _deploy(
    fields: Mapping[str, object],
    source: Source,
    update: Mapping[str, object],
    ways: Ways,
    place: AwsPlace,
) -> dict[str, Any]:
    aws = Aws(place)
    way = _validated(Update, update)
    # Before anything is read or asked: most mistakes are in the options.
    _validated(Deployment, {**fields, "package": source.package})
    approved = _approved(ways)
    found = await find_model(aws, source, place, registers=bool(ways.registry))
    d = _validated(
        Deployment,
        {
            **fields,
            "package": source.package,
            "model_data": "" if source.package else found.model_data,
            "environment": {} if source.package else found.environment,
        },
    )
    region = aws.region
    catalog = _catalog(d, found, ways, region=region)
    asked = Asked(
        update=way,
        tags=discovery_tags(d, found.entry) if ways.discover else {},
        digest=str(found.entry["digest"]) if found.entry is not None else "",
        waits=bool(ways.wait_minutes),
    )
    document: dict[str, Any] = {
        "endpoint": d.name,
        "region": region,
        "bills": billing_line(d, region=region),
        "target": target_entry(d, region=region),
        "model": catalog.entry if catalog is not None else _entry(d, found, region=region),
        "tags": asked.tags,
    }
    registration = None
    if ways.registry:
        registration = await plan_registration(aws, ways.registry, d, approve=ways.approve)
        document["registry"] = ways.registry
    plan = None
    if ways.plan or approved:
        whole = await planned(aws, d, asked, registration)
        if ways.plan:
            return {**document, **whole.document}
        check_digest(whole, approved)
        # The very one that was approved, unless it names a version that is made only now.
        plan = whole.deployment
    await upload(found, source, place)
    if registration is not None:
        registered = await register(aws, registration)
        document["version"] = {"arn": registered.arn, "approval": registered.approval}
        if registered.approval != APPROVED:
            return document
        d = by_version(d, registered.arn)
    if plan is None:
        plan = await plan_deployment(aws, d, way, digest=asked.digest)
    done = await _carried_out(aws, d, plan, ways, bills=document["bills"])
    if asked.tags:
        tagged, left = await tag(aws, done["arn"], asked, plan)
        done["changed"] |= tagged
        done["left"] += left
        document["tagged"] = not left
    if catalog is not None:
        catalog.write()
        document["catalog"] = str(catalog.path)
    return {**document, **done}


def _approved(ways: Ways) -> str:
    if ways.plan and ways.plan_digest:
        raise InvalidRequest("--plan-digest", "is of a deployment; --plan prints the digest")
    return checked_digest(ways.plan_digest)


async def _carried_out(
    aws: Aws, d: Deployment, plan: Plan, ways: Ways, *, bills: str
) -> dict[str, Any]:
    out = console(stderr=True)

    def say(line: str) -> None:
        out.print(f"[dim]{line}[/]")

    if plan.requests:
        say(bills)
        for request in plan.requests:
            say(f"{request.operation} {request.resource}")
    patience = Patience(limit_s=ways.wait_minutes * 60, say=say) if ways.wait_minutes else None
    done = await carry_out(aws, d, plan, patience)
    return {
        "arn": done.arn,
        "changed": done.changed,
        "sagemaker_model": plan.model,
        "endpoint_config": plan.config,
        "left": [line for line in (done.left, plan.unseen, _scales_by(d)) if line],
        "requests": [f"{request.operation} {request.resource}" for request in plan.requests],
        "waited": patience is not None,
    }


def _scales_by(d: Deployment) -> str:
    """The command without which as many run as at the start."""
    if d.kind == "component":
        most = max(1, d.max_instances)
        return (
            f"its copies stay one until `simcloud endpoint scale {d.name} --min {d.instances} "
            f"--max {most}` lets them follow the requests"
        )
    return ""


def _catalog(d: Deployment, found: Found, ways: Ways, *, region: str) -> ChangedCatalog | None:
    if ways.discover and (ways.catalog is not None or ways.canary_percent is not None):
        raise InvalidRequest(
            "--discover", "a router takes an endpoint from its catalogue or by its tags: one of two"
        )
    if ways.catalog is None:
        if ways.canary_percent is not None:
            raise InvalidRequest(
                "--canary", "a share is one of a model's targets: name the router's --catalog"
            )
        return None
    if found.entry is None:
        raise InvalidRequest(
            "--catalog",
            "nothing says what the model takes and answers (no model.json beside the archive): "
            "package it by `simcloud endpoint package`, or add the target by hand",
        )
    return changed_catalog(
        ways.catalog, found.entry, d, region=region, canary_percent=ways.canary_percent
    )


def _entry(d: Deployment, found: Found, *, region: str) -> Mapping[str, Any] | None:
    if found.entry is None:
        return None
    return model_with_target(found.entry, d, region=region, canary_percent=None)


_Settings = TypeVar("_Settings", Deployment, Update)


def _validated(kind: type[_Settings], fields: Mapping[str, object]) -> _Settings:
    """The options as settings; the first that is wrong is told by its option's name."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)[0]
        field = "--" + str(found["loc"][0]).replace("_", "-") if found["loc"] else ""
        field = {"--name": "NAME", "--model-data": "--model"}.get(field, field)
        problem = found["msg"].removeprefix("Value error, ")
        if found["loc"]:
            problem += f", found {found['input']!r}"
        raise InvalidRequest(field, problem) from error
