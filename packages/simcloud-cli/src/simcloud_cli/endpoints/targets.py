"""An endpoint as a target of the router's catalogue."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from simcloud.errors import InvalidRequest
from simcloud_cli.endpoints.deployment import Deployment

_KINDS = {
    "realtime": "sagemaker",
    "serverless": "sagemaker_serverless",
    "async": "sagemaker_async",
    "component": "sagemaker",
}


_BY_HAND = (
    *("weight", "tier", "timeout_s", "max_request_bytes"),
    *("instance_type", "usd_per_hour"),
)
"""What somebody sets on a target, and a deployment leaves alone."""


def target_entry(d: Deployment, *, region: str) -> dict[str, Any]:
    """The endpoint's entry in a model's ``targets``."""
    entry: dict[str, Any] = {
        "name": d.name,
        "kind": _KINDS[d.kind],
        "endpoint": d.name,
        "region": region,
    }
    if d.kind == "component":
        entry["component"] = d.name
    if d.kind == "async":
        output = d.async_output.removeprefix("s3://").rstrip("/")
        entry["output_prefix"] = output
        # Beside the answers: requests that are too large to be sent inline.
        entry["input_prefix"] = f"{output}/requests"
    return entry


def model_with_target(
    model: Mapping[str, Any], d: Deployment, *, region: str, canary_percent: float | None
) -> dict[str, Any]:
    """A model's catalogue entry that has the endpoint among its targets.

    Args:
        model: the entry, with or without ``targets``.
        d: the endpoint; its target takes the place of one of the same name.
        region: the endpoint's.
        canary_percent: share of the requests, where it shall get that and no others; None: its
            share by weight, as all.

    Raises:
        InvalidRequest: a canary, and there is no other target.
    """
    others = [entry for entry in model.get("targets", []) if entry.get("name") != d.name]
    target = target_entry(d, region=region)
    before: Mapping[str, Any] = next(
        (e for e in model.get("targets", []) if e.get("name") == d.name), {}
    )
    kept = {key: before[key] for key in _BY_HAND if key in before}
    changed = {**model, "targets": [*others, {**target, **kept}]}
    if d.kind == "component" and d.instances == 0:
        changed.setdefault("cold_start", {})
    if canary_percent is None:
        return changed
    if not others:
        raise InvalidRequest(
            "--canary", f"model {model['name']} has no other target that the rest could go to"
        )
    # As the router's catalogue has it: the canary's share is its own, beside the others' weights.
    return {**changed, "canary": {"target": d.name, "percent": canary_percent}}


@dataclass(frozen=True, slots=True)
class ChangedCatalog:
    """A catalogue's file with an endpoint in it, not yet written."""

    path: Path
    document: Mapping[str, Any]
    entry: Mapping[str, Any]
    """The model's."""

    def write(self) -> None:
        """Writes the file, whole; a running router takes it by itself."""
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        partial.write_text(yaml.safe_dump(self.document, sort_keys=False), encoding="utf-8")
        partial.replace(self.path)


def changed_catalog(
    path: Path,
    model: Mapping[str, Any],
    d: Deployment,
    *,
    region: str,
    canary_percent: float | None,
) -> ChangedCatalog:
    """A catalogue's file with the endpoint added.

    The rest of the file stays in what it says, not in its comments: it is written anew.

    Args:
        path: the file; none is an empty catalogue.
        model: the model's entry, for a catalogue that has none of its name.
        d: the endpoint.
        region: the endpoint's.
        canary_percent: as ``model_with_target``.

    Raises:
        InvalidRequest: the file is no catalogue, its model of this name is another one, or a canary
            would be alone.
    """
    read = _read(path)
    models: list[dict[str, Any]] = read["models"]
    known = next((entry for entry in models if entry.get("name") == model["name"]), None)
    if known is not None and known.get("digest") != model["digest"] and canary_percent is None:
        raise InvalidRequest(
            str(path),
            f"model {model['name']} has digest {str(known.get('digest'))[:12]} there, this one has "
            f"{model['digest'][:12]}: predictions of two models would mix; give the new one a name "
            "of its own, or a share by --canary",
        )
    entry = model_with_target(known or model, d, region=region, canary_percent=canary_percent)
    rows = [entry if row is known else row for row in models]
    return ChangedCatalog(
        path=path,
        # Whatever else the file says stays, such as `discovery`, by which endpoints are found.
        document={**read, "models": rows if known is not None else [*rows, entry]},
        entry=entry,
    )


def _read(path: Path) -> dict[str, Any]:
    """The whole document, whose ``models`` are a list."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"models": []}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest(str(path), f"can't be read as a catalogue: {error}") from error
    found: dict[str, Any] = document if isinstance(document, dict) else {}
    models = found.get("models")
    if not isinstance(models, list) or not all(isinstance(row, dict) for row in models):
        raise InvalidRequest(str(path), "is no catalogue of the router: it has no list `models`")
    return found
