"""The catalogue: which models there are, what goes in and out, and where they are served."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simcloud.errors import InvalidRequest, NotFound, PreconditionFailed
from simcloud_inference_router.codec_rules import answer_problems, codec_problems
from simcloud_inference_router.model_options import TrafficOptions
from simcloud_inference_router.target_entry import NAME, TargetEntry

__all__ = [
    "Catalog",
    "CatalogFile",
    "Datatype",
    "ModelEntry",
    "TargetEntry",
    "TensorSignature",
    "load_catalog",
]

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
]  # fmt: skip
"""Tensor datatypes of the Open Inference Protocol."""

TensorCodecName = Literal["triton_binary", "npy", "json_v2", "instances_json", "csv", "bytes"]
PictureCodecName = Literal["raw_image"]


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
    """How pictures travel; null: the model takes none."""
    targets: tuple[TargetEntry, ...] = Field(min_length=1, max_length=64)
    """Where it is served."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.versions:
            raise ValueError(f"model {self.name}: versions must name at least one")
        if self.labels and self.labels_file:
            raise ValueError(f"model {self.name}: give labels or labels_file, not both")
        try:
            self.check_targets(tuple(target.name for target in self.targets))
        except ValueError as exc:
            raise ValueError(f"model {self.name}: {exc}") from exc
        for problem in (*codec_problems(self), *answer_problems(self)):
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

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        _unique("model", [model.name for model in self.models])
        _unique("target", [target.name for model in self.models for target in model.targets])
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


class CatalogFile:
    """A catalogue's file with the label files that it names, read as often as one likes.

    Args:
        path: the file; it may be a link, and so may its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest = ""
        """SHA-256, in hex, of what ``load`` read last, valid or not."""
        self._label_files: tuple[str, ...] = ()

    def look(self) -> str:
        """Digest of the files as they are now; that of ``load`` if it read the same."""
        return self._read(self._label_files).digest

    def load(self) -> Catalog:
        """The catalogue as it is now.

        Raises:
            PreconditionFailed: the file can't be read, is no YAML, or breaks a rule.
        """
        path = self.path
        self._label_files = ()
        read = self._read(())
        self.digest = read.digest
        try:
            if read.problem is not None:
                raise read.problem
            catalog = Catalog.model_validate(yaml.safe_load(read.text.decode()))
            self._label_files = tuple(each.labels_file for each in catalog.models)
            labels = self._read(self._label_files, text=read.text)
            self.digest = labels.digest
            if labels.problem is not None:
                raise labels.problem
            models = tuple(
                _with_labels(model, labels.labels[model.labels_file]) for model in catalog.models
            )
        except OSError as exc:
            raise PreconditionFailed(f"catalogue {path} can't be read: {exc}") from exc
        except (yaml.YAMLError, UnicodeDecodeError) as exc:
            raise PreconditionFailed(f"catalogue {path} is not YAML: {exc}") from exc
        except ValidationError as exc:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
                for error in exc.errors(include_url=False, include_input=False)
            )
            raise PreconditionFailed(f"catalogue {path} is not valid: {problems}") from exc
        return catalog.model_copy(update={"models": models})

    def _read(self, label_files: tuple[str, ...], *, text: bytes | None = None) -> _Content:
        content = _Content()
        try:
            content.text = self.path.read_bytes() if text is None else text
            for name in label_files:
                if name not in content.labels:
                    content.labels[name] = (self.path.parent / name).read_bytes() if name else b""
        except OSError as exc:
            content.problem = exc
        return content


class _Content:
    """What the files said at one moment."""

    def __init__(self) -> None:
        self.text = b""
        self.labels: dict[str, bytes] = {}
        self.problem: OSError | None = None
        """Why one of them could not be read."""

    @property
    def digest(self) -> str:
        whole = sha256(self.text)
        for name, text in self.labels.items():
            whole.update(f"\0{name}\0".encode() + sha256(text).digest() if name else b"")
        whole.update(b"" if self.problem is None else f"\0{self.problem}".encode())
        return whole.hexdigest()


def load_catalog(path: Path) -> Catalog:
    """Reads a catalogue once; raises as ``CatalogFile.load``."""
    return CatalogFile(path).load()


def _with_labels(model: ModelEntry, text: bytes) -> ModelEntry:
    if not model.labels_file:
        return model
    labels = tuple(text.decode().splitlines())
    return model.model_copy(update={"labels": labels, "labels_file": ""})


def _unique(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} names must be unique; given twice: {', '.join(twice)}")
