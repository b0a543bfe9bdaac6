"""What the roles of a plan may do, and which wildcards iam-exceptions.json explains."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from support.terraform_plan import SOURCE, Plan

_EXCEPTIONS: Final[dict[str, dict[str, str]]] = json.loads(
    (SOURCE / "iam-exceptions.json").read_text(encoding="utf-8")
)
_PREFIX = re.compile(r"^arn:[a-z-]+:s3:::[a-z0-9-]+(/[A-Za-z0-9._-]+)+/\*$")
"""Objects below a named prefix of a named bucket: how S3 writes a folder."""

_IDS = re.compile(r"^arn:[a-z-]+:(ec2|iam):[a-z0-9-]*:\d*:[a-z-]+/\*$")
_TAGGED = re.compile(r"^arn:[a-z-]+:sagemaker:[a-z0-9-]+:\d{12}:endpoint/\*$")
_PUBLIC = re.compile(r"^arn:[a-z-]+:ssm:[a-z0-9-]+::parameter/aws/service/\*$")
_STREAMS = re.compile(
    r"^arn:[a-z-]+:logs:[a-z0-9-]+:\d{12}:log-group:/[A-Za-z0-9/_-]+:log-stream:\*$"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One Allow of a role's own policy."""

    role: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Explained:
    """What the file of exceptions has."""

    actions: frozenset[str]
    managed: frozenset[str]


explained: Final = Explained(
    frozenset(
        action
        for group in (
            "no_resource_level",
            "tagged_resources",
            "ids_of_aws",
            "read_only_ids",
            "log_streams",
        )
        for action in _EXCEPTIONS[group]
    ),
    frozenset(_EXCEPTIONS["managed_policies"]),
)


def statements_of(plan: Plan) -> list[Statement]:
    """Every Allow of every role; the role as its name ends.

    A policy that is not known before something is there fails: nobody could read it in a plan.
    Those for a key that is only being made are the exception; the same lines make them for a key
    that is there.
    """
    found = []
    for address, values in plan.of("aws_iam_role_policy").items():
        role = _role(address)
        if "policy" not in values:
            assert ".kms[" in address, address
            continue
        for each in json.loads(values["policy"])["Statement"]:
            assert each["Effect"] == "Allow", address
            assert not {"NotAction", "NotResource"} & set(each), address
            found.append(
                Statement(
                    role,
                    tuple(each["Action"]),
                    tuple(each["Resource"]),
                    each.get("Condition", {}),
                )
            )
    return found


def _role(address: str) -> str:
    key = re.search(r'\["([^"]+)"\]$', address)
    if key is not None:
        return key.group(1)
    name = address.split("aws_iam_role_policy.")[1].split("[", maxsplit=1)[0]
    return {"stop_idle": "stop-idle", "start_stop_idle": "stop-idle-start"}.get(name, name)


def actions_of(plan: Plan) -> dict[str, set[str]]:
    """Actions of each role."""
    actions: dict[str, set[str]] = {}
    for each in statements_of(plan):
        actions.setdefault(each.role, set()).update(each.actions)
    return actions


def managed_policies(plan: Plan) -> set[str]:
    """Names of AWS's own policies that roles have."""
    attached = plan.of("aws_iam_role_policy_attachment").values()
    return {each["policy_arn"].rsplit("/", 1)[1] for each in attached}


def objections(statement: Statement) -> list[str]:
    """What of a statement is wider than it has a reason to be."""
    problems = [f"{statement.role}: {action}" for action in statement.actions if "*" in action]
    for action in statement.actions:
        for resource in statement.resources:
            if "*" in resource and not _explained(action, resource, statement.condition):
                problems.append(f"{statement.role}: {action} on {resource}")
    return problems


def _explained(action: str, resource: str, condition: dict[str, Any]) -> bool:
    if resource == "*":
        return action in _EXCEPTIONS["no_resource_level"]
    if _PREFIX.match(resource):
        return action.startswith("s3:")
    if _TAGGED.match(resource):
        return action in _EXCEPTIONS["tagged_resources"] and _by_tag(condition)
    if _STREAMS.match(resource):
        return action in _EXCEPTIONS["log_streams"]
    if _PUBLIC.match(resource):
        return action in _EXCEPTIONS["read_only_ids"]
    if _IDS.match(resource):
        bound = action in _EXCEPTIONS["ids_of_aws"] and bool(condition)
        return bound or action in _EXCEPTIONS["read_only_ids"]
    return False


def _by_tag(condition: dict[str, Any]) -> bool:
    """Whether what is meant must carry a tag: `Null … false`, or a tag's value."""
    return any(
        key.startswith("aws:ResourceTag/") and (operator != "Null" or value == "false")
        for operator, keys in condition.items()
        for key, value in keys.items()
    )
