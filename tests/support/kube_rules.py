"""What an API server refuses: by the published schema, and by rules of Jobs that no schema has."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate

VERSION = "1.34"
Manifest = dict[str, Any]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_MUTABLE = {"parallelism", "suspend", "activeDeadlineSeconds", "backoffLimit"}


class Refused(Exception):
    """The API server's answer to what is not valid: 422."""


def check(item: Manifest) -> None:
    """Returns when a manifest can be stored.

    Raises:
        Refused: by the schema of ``VERSION``, strictly, or by a Job's own rules.
    """
    name = item["metadata"].get("name", "")
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise Refused(f"metadata.name: Invalid value: {name!r}: a lowercase RFC 1123 subdomain")
    for key, value in item["metadata"].get("labels", {}).items():
        if not _LABEL.fullmatch(value):
            raise Refused(f"metadata.labels: Invalid value: {value!r} of {key}")
    try:
        kubernetes_validate.validate(item, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise Refused(f"{'.'.join(map(str, error.path))}: {error.message}") from error
    if item["kind"] == "Job":
        _check_job(item)


def check_change(old: Manifest, new: Manifest) -> None:
    """Returns when one may become the other: a Job's spec can't change but for a few fields."""
    if new["kind"] != "Job":
        return
    for field in (old["spec"].keys() | new["spec"].keys()) - _MUTABLE:
        if field in new["spec"] and old["spec"].get(field) != new["spec"][field]:
            raise Refused(f"spec.{field}: Invalid value: field is immutable")


def _check_job(job: Manifest) -> None:
    """As ``pkg/apis/batch/validation`` of Kubernetes has it, for Indexed Jobs."""
    spec = job["spec"]
    completions = spec.get("completions")
    if len(job["metadata"]["name"]) + len(f"-{completions or 0}") > 63:
        raise Refused("metadata.name: Invalid value: with an index it is too long for a host")
    if spec.get("completionMode") != "Indexed":
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if field in spec:
                raise Refused(f"spec.{field}: Invalid value: requires indexed completion mode")
        return
    if completions is None:
        raise Refused("spec.completions: Required value: when completion mode is Indexed")
    failed = spec.get("maxFailedIndexes")
    if failed is not None and "backoffLimitPerIndex" not in spec:
        raise Refused("spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is set")
    if failed is not None and failed > completions:
        raise Refused(
            f"spec.maxFailedIndexes: Invalid value: {failed}: must be less than or equal to "
            "completions"
        )
    _check_policy(spec)


def _check_policy(spec: Manifest) -> None:
    pod = spec["template"]["spec"]
    if "podFailurePolicy" in spec and pod.get("restartPolicy") != "Never":
        raise Refused("spec.template.spec.restartPolicy: Invalid value: only Never with a policy")
    names = {item["name"] for item in (*pod.get("initContainers", []), *pod["containers"])}
    for rule in spec.get("podFailurePolicy", {}).get("rules", []):
        named = rule.get("onExitCodes", {}).get("containerName")
        if named is not None and named not in names:
            raise Refused(f"spec.podFailurePolicy.rules: Invalid value: {named!r}: no container")
