"""A spec on disk: the YAML, the scene beside it and how its labels count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from simcloud.errors import InvalidRequest
from simcloud.scene.bundle import Bundle, make_bundle
from simcloud.scene.spec_pictures import with_pictures
from simcloud.spec.canonical import problems
from simcloud.spec.model import Spec
from simcloud.spec.plan import CountingRule
from simcloud.spec.plugins import with_source_digests
from simcloud_cli.scenesource import local_pictures, local_stage

LABELS_FILE = "coco_labels.yaml"


class LabelsFile(BaseModel):
    """``coco_labels.yaml`` beside the spec: how the scene's classes compare with a detector's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: dict[str, str | None]
    """The scene's class to the model's; null: no ground truth."""
    ignored_predictions: tuple[str, ...] = ()
    """The model's classes whose detections count neither way."""

    def counting(self) -> CountingRule:
        """The rule for the plan."""
        return CountingRule(
            labels={ours: theirs for ours, theirs in self.labels.items() if theirs is not None},
            ignored_predictions=self.ignored_predictions,
        )


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A spec with its scene, read and checked as far as that goes without a generator."""

    path: Path
    name: str
    """What a run of it is called: the file's stem, or its folder's name for ``spec.yaml``."""
    spec: Spec
    """With the scene's digest filled in."""
    bundle: Bundle
    counting: CountingRule


def read_spec_file(path: Path) -> SpecFile:
    """Reads a spec and everything that lies beside it.

    Raises:
        InvalidRequest: not a file, not YAML, not a spec, or the scene lacks a file; every problem
            of the spec is in the message.
        PreconditionFailed: the spec has a plug-in that is not installed here, and no SHA-256 of it.
    """
    if path.is_dir():
        path = path / "spec.yaml"
    content = _yaml(path)
    if not isinstance(content, dict):
        raise InvalidRequest(str(path), "is no mapping: a spec begins with `version: ...`")
    try:
        spec = Spec.model_validate(content)
    except ValidationError as error:
        found = "; ".join(_lines(error))
        raise InvalidRequest(str(path), found) from error
    spec = with_source_digests(spec)
    bundle = make_bundle(local_stage(spec.scene.root, path.parent))
    try:
        spec, bundle = with_pictures(spec, bundle, lambda name: local_pictures(name, path.parent))
    except InvalidRequest as error:
        raise InvalidRequest(str(path), f"{error.field}: {error.problem}") from error
    scene = spec.scene.model_copy(update={"root": bundle.stage, "digest": bundle.digest})
    return SpecFile(
        path=path,
        name=path.resolve().parent.name if path.stem == "spec" else path.stem,
        spec=spec.model_copy(update={"scene": scene}),
        bundle=bundle,
        counting=_counting(path.parent / LABELS_FILE),
    )


def _lines(error: ValidationError) -> list[str]:
    return [f"{where}: {what}" if where else what for where, what in problems(error)]


def _counting(path: Path) -> CountingRule:
    if not path.exists():
        return CountingRule()
    try:
        return LabelsFile.model_validate(_yaml(path)).counting()
    except ValidationError as error:
        found = "; ".join(_lines(error))
        raise InvalidRequest(str(path), found) from error


def _yaml(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidRequest(str(path), "there is no such file; name a spec's YAML") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        words = " ".join(str(error).split())
        raise InvalidRequest(str(path), f"can't be read as YAML: {words}") from error
