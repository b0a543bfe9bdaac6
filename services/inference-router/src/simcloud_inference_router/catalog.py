"""The catalogue: which models there are, what goes in and out, and where they are served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simcloud.errors import InvalidRequest, NotFound, PreconditionFailed
from simcloud_inference_router.codec_rules import problems_of
from simcloud_inference_router.discovery.options import DiscoveryOptions
from simcloud_inference_router.model_options import TrafficOptions
from simcloud_inference_router.target_entry import NAME, TargetEntry
from simcloud_inference_router.yaml_document import DuplicateKeyError, load_yaml

__all__ = [
    "Catalog",
    "CatalogReading",
    "Datatype",
    "DiscoveryOptions",
    "ModelEntry",
    "TargetEntry",
    "TensorSignature",
    "digest_now",
    "load_catalog",
    "read_catalog",
    "validation_problems",
]

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
]  # fmt: skip
"""Tensor datatypes of the Open Inference Protocol."""

TensorCodecName = Literal["triton_binary", "npy", "json_v2", "instances_json", "csv", "bytes"]
PictureCodecName = Literal["raw_image", "tensor"]


_MEDIA_TYPE = r"^[!-.0-~]{1,127}/[!-~](?:[ -~]{0,253}[!-~])?$"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSignature(_Entry):
    """An input or an output of a model."""

    name: str = Field(min_length=1, max_length=256)
    """Tensor's name."""
    datatype: Datatype
    """Datatype."""
    shape: tuple[Annotated[int, Field(ge=-1)], ...]
    """Shape, the batch included; -1 for a dimension of any size."""


class ModelEntry(TrafficOptions):
    """One model as callers see it."""

    name: str = Field(pattern=NAME)
    """Name that callers use."""
    versions: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ("1",)
    """Versions, the default first."""
    task: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """For example `object_detection`."""
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 that names its predictions: of the weights with the pre- and post-processing."""
    labels: tuple[str, ...] = ()
    """Labels by class id."""
    labels_file: str = ""
    """File with one label a line, relative to the catalogue; instead of `labels`."""
    inputs: tuple[TensorSignature, ...] = ()
    """Tensors in; required when the model takes tensors."""
    outputs: tuple[TensorSignature, ...] = ()
    """Tensors out."""
    max_batch_size: int = Field(default=0, ge=0)
    """Largest first dimension of the inputs; 0: the inputs have no batch dimension."""
    tensor_codec: TensorCodecName | None = "triton_binary"
    """How tensors travel; null: the model takes none."""
    media_type: str = Field(default="application/json", pattern=_MEDIA_TYPE)
    """Content type of requests by codec `bytes`."""
    accept: str = Field(default="", pattern=rf"^$|{_MEDIA_TYPE}")
    """Media type that codec `bytes` asks for; empty: any."""
    decoupled: bool = False
    """Whether a request on ModelStreamInfer has an answer for each part that the model sends; its
    targets are streaming endpoints."""
    picture_codec: PictureCodecName | None = "raw_image"
    """How pictures travel: `raw_image`: the picture is the body; `tensor`: it is a row of the
    model's one input, an element of BYTES or an `.npy` array; null: the model takes none."""
    targets: tuple[TargetEntry, ...] = Field(default=(), max_length=64)
    """Where it is served; none only in a catalogue with `discovery`, which may find some."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.versions:
            raise ValueError(f"model {self.name}: versions must name at least one")
        if self.labels and self.labels_file:
            raise ValueError(f"model {self.name}: give labels or labels_file, not both")
        try:
            if self.targets:
                self.check_targets(tuple(target.name for target in self.targets))
        except ValueError as exc:
            raise ValueError(f"model {self.name}: {exc}") from exc
        for problem in problems_of(self):
            raise ValueError(f"model {self.name}: {problem}")
        for tensor in (*self.inputs, *self.outputs):
            if self.max_batch_size and (not tensor.shape or tensor.shape[0] != -1):
                raise ValueError(
                    f"model {self.name}: tensor {tensor.name} must have -1 first: "
                    f"max_batch_size is {self.max_batch_size}"
                )
        return self


class Catalog(_Entry):
    """All models, by name."""

    models: tuple[ModelEntry, ...]
    """Models; names are unique, and so are the names of targets."""
    discovery: DiscoveryOptions | None = None
    """Endpoints that become targets by their tags; none by default."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        _unique("model", [model.name for model in self.models])
        _unique("target", [target.name for model in self.models for target in model.targets])
        return self

    @model_validator(mode="after")
    def _models_can_be_served(self) -> Self:
        if self.discovery is None:
            for model in self.models:
                if not model.targets:
                    raise ValueError(f"model {model.name}: targets must name at least one")
        elif (described := self.discovery.defaults.model) is not None:
            # Of a name and a digest that tags may give: the rest is the same for all.
            try:
                ModelEntry.model_validate({"digest": "0" * 64, **described, "name": "found"})
            except ValidationError as exc:
                problem = f"discovery.defaults.model is not valid: {validation_problems(exc)}"
                raise ValueError(problem) from exc
        return self

    def model(self, name: str, version: str = "") -> ModelEntry:
        """The model of that name.

        Raises:
            InvalidRequest: no name was given.
            NotFound: no such model, or not in that version.
        """
        if not name:
            raise InvalidRequest("model", "is empty; name a model of the catalogue")
        for model in self.models:
            if model.name == name:
                break
        else:
            known = ", ".join(sorted(model.name for model in self.models))
            message = f"there is no model {name!r}; the catalogue has: {known or 'none'}"
            raise NotFound(message, model=name)
        if version and version not in model.versions:
            versions = ", ".join(model.versions)
            message = f"model {name!r} has no version {version!r}; it has: {versions}"
            raise NotFound(message, model=name, version=version)
        return model


@dataclass(frozen=True, slots=True)
class CatalogReading:
    """What a catalogue's files said at one moment: a catalogue, or why they are none."""

    digest: str
    """SHA-256 of them all, in hex."""
    label_files: tuple[str, ...] = ()
    """Files with labels that the catalogue named, as far as it could be read."""
    catalog: Catalog | None = None
    problem: str = ""
    """What is wrong with it, and where; empty when there is a catalogue."""

    def taken(self) -> Catalog:
        """The catalogue.

        Raises:
            PreconditionFailed: it could not be read, is no YAML, or breaks a rule.
        """
        if self.catalog is None:
            raise PreconditionFailed(self.problem)
        return self.catalog


def read_catalog(path: Path) -> CatalogReading:
    """Reads a catalogue's files; each may be a link, and so may their folder."""
    files = _Files(path)
    names: tuple[str, ...] = ()
    problem = ""
    try:
        described = load_yaml(files.text().decode())
        if described is None:
            return CatalogReading(
                files.digest, problem=f"catalogue {path} is empty; it needs `models`"
            )
        catalog = Catalog.model_validate(described)
        names = tuple(each.labels_file for each in catalog.models if each.labels_file)
        files.read_labels(names)
        models = tuple(_with_labels(model, files.labels) for model in catalog.models)
        catalog = catalog.model_copy(update={"models": models})
        return CatalogReading(files.digest, names, catalog)
    except OSError as exc:
        problem = f"catalogue {path} can't be read: {exc}"
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        problem = f"catalogue {path} is not YAML: {exc}"
    except DuplicateKeyError as exc:
        problem = f"catalogue {path} is not valid: {exc}"
    except ValidationError as exc:
        problem = f"catalogue {path} is not valid: {validation_problems(exc)}"
    return CatalogReading(files.digest, names, problem=problem)


def validation_problems(error: ValidationError) -> str:
    """What is wrong, each with its place."""
    return "; ".join(
        f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False)
    )


def digest_now(path: Path, label_files: Sequence[str]) -> str:
    """Digest of a catalogue's files as they are now, without a look at what they mean.

    Args:
        path: the catalogue.
        label_files: as the reading has them that it is compared with.
    """
    files = _Files(path)
    with suppress(OSError):
        files.text()
        files.read_labels(label_files)
    return files.digest


class _Files:
    """The files of a catalogue as they are read, one after the other."""

    def __init__(self, path: Path) -> None:
        self.labels: dict[str, bytes] = {}
        """What the files with labels say, by the names that the catalogue has for them."""
        self._path = path
        self._seen = sha256()

    @property
    def digest(self) -> str:
        return self._seen.hexdigest()

    def text(self) -> bytes:
        return self._read(self._path)

    def read_labels(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.labels:
                self._seen.update(f"\0{name}\0".encode())
                self.labels[name] = self._read(self._path.parent / name)

    def _read(self, path: Path) -> bytes:
        try:
            content = path.read_bytes()
        except OSError as exc:
            self._seen.update(f"\0{exc}\0".encode())
            raise
        self._seen.update(content)
        return content


def load_catalog(path: Path) -> Catalog:
    """Reads a catalogue.

    Raises:
        PreconditionFailed: the file can't be read, is no YAML, or breaks a rule.
    """
    return read_catalog(path).taken()


def _with_labels(model: ModelEntry, labels: Mapping[str, bytes]) -> ModelEntry:
    if not model.labels_file:
        return model
    lines = tuple(labels[model.labels_file].decode().splitlines())
    return model.model_copy(update={"labels": lines, "labels_file": ""})


def _unique(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} names must be unique; given twice: {', '.join(twice)}")
