"""What `simcloud endpoint deploy` prints for people; with --json the same document is printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from simcloud_cli.endpoints.aws import Request
from simcloud_cli.output import console


def print_deployed(document: Mapping[str, Any]) -> None:
    """A plan, a version that waits for approval, or an endpoint and its entry in the catalogue."""
    out = console()
    if "plan" in document:
        for request in document["plan"]:
            out.print(f"{request['service']} {request['operation']}", markup=False)
            text = yaml.safe_dump(_without_values(request["parameters"]), sort_keys=False)
            out.print("".join(f"  {line}\n" for line in text.splitlines()), markup=False, end="")
        if not document["plan"] and not document["left"]:
            out.print(f"endpoint {document['endpoint']} is as it shall be: nothing to ask")
        for line in document["left"]:
            out.print(line, markup=False)
        # `.github/workflows/endpoint.yml` reads this line.
        out.print(f"plan digest: {document['plan_digest']}")
        out.print(document["bills"], markup=False)
        return
    if version := document.get("version"):
        out.print(f"version {version['arn']}: {version['approval']}", markup=False)
    if "arn" not in document:
        out.print(
            "not deployed: it waits for approval. Then: `simcloud endpoint deploy "
            f"{document['endpoint']} --package {document['version']['arn']} ...`",
            markup=False,
        )
        return
    if not document["changed"]:
        out.print(f"endpoint {document['endpoint']} is as it shall be: nothing was changed")
    out.print(document["arn"], markup=False)
    for line in document["left"]:
        out.print(line, markup=False)
    _print_target(document)


def listed(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """Requests for the document."""
    return [
        {
            "service": request.service,
            "operation": request.operation,
            "parameters": dict(request.parameters),
        }
        for request in requests
    ]


def _without_values(parameters: Any) -> Any:
    """A container's environment by its names alone: plans are kept and shown to many."""
    match parameters:
        case {"Environment": dict(values), **rest}:
            hidden = dict.fromkeys(values, "(--json shows it)")
            return {**_without_values(rest), "Environment": hidden}
        case dict():
            return {key: _without_values(value) for key, value in parameters.items()}
        case list():
            return [_without_values(value) for value in parameters]
        case _:
            return parameters


def _print_target(document: Mapping[str, Any]) -> None:
    out = console()
    if tags := document["tags"]:
        if document["tagged"]:
            out.print(f"routers that look for endpoints find it: {tags}", markup=False)
        return
    if "catalog" in document:
        out.print(f"in {document['catalog']}: a running router takes it by itself", markup=False)
        return
    out.print("for the router's catalogue:")
    entry = document["model"]
    shown = {"models": [entry]} if entry is not None else {"targets": [document["target"]]}
    out.print(yaml.safe_dump(_brief(shown), sort_keys=False), markup=False, end="")


def _brief(shown: dict[str, Any]) -> dict[str, Any]:
    """Labels are long; for people the first three stand for them, JSON has all."""
    for entry in shown.get("models", []):
        labels = entry.get("labels", [])
        if len(labels) > 3:
            more = f"and {len(labels) - 3} more: --json or --catalog"
            return {"models": [{**entry, "labels": [*labels[:3], more]}]}
    return shown
