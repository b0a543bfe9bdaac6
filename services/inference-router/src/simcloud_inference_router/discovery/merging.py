"""A written catalogue and found endpoints to one catalogue; what is written wins. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import JsonValue, ValidationError

from simcloud_inference_router.catalog import (
    Catalog,
    ModelEntry,
    PictureCodecName,
    validation_problems,
)
from simcloud_inference_router.discovery.endpoints import FoundTarget
from simcloud_inference_router.discovery.options import CODEC_TAG, DIGEST_TAG
from simcloud_inference_router.target_entry import TargetEntry


@dataclass(frozen=True, slots=True)
class Merged:
    """What is served."""

    catalog: Catalog
    """Every model has targets: the written ones first, in their order."""
    targets: int
    """Found endpoints among them that take requests."""
    problems: tuple[str, ...]
    """Found endpoints that are left out, and written models without a target, a sentence each."""


def merge(written: Catalog, found: Sequence[FoundTarget] = (), *, region: str) -> Merged:
    """Adds found endpoints to a written catalogue.

    Each is judged for itself: one that can't be joined is left out, and told.

    Args:
        written: valid; its models may have no targets yet.
        found: in the order in which they are added.
        region: of targets that name none; the service's own.
    """
    models = {each.name: each for each in written.models}
    of_the_catalogue = [target for model in written.models for target in model.targets]
    problems: list[str] = []
    targets = 0
    for each in found:
        try:
            if _is_written(each, written, of_the_catalogue, region):
                continue
            models[each.model] = _joined(models.get(each.model), each, written)
            targets += not each.gone
        except ValidationError as exc:
            problems.append(f"endpoint {each.entry.name} is left out: {validation_problems(exc)}")
        except ValueError as exc:
            problems.append(f"endpoint {each.entry.name} is left out: {exc}")
    problems.extend(
        f"model {name} has no target: no endpoint is tagged for it"
        for name, model in models.items()
        if not model.targets
    )
    served = tuple(model for model in models.values() if model.targets)
    return Merged(written.model_copy(update={"models": served}), targets, tuple(problems))


def _is_written(
    found: FoundTarget, written: Catalog, targets: Sequence[TargetEntry], region: str
) -> bool:
    """Whether the catalogue has that endpoint itself, and says the same as the tags.

    Raises:
        ValueError: it says something else, or has that name for another place.
    """
    entry = found.entry
    place = (entry.endpoint, entry.region or region)
    for target in targets:
        # Written with its region or without, it is one endpoint: as two it would get twice its
        # share and twice what it may have in flight.
        if (target.endpoint, target.region or region) == place:
            if not found.gone:
                _check_agreement(found, target, written)
            return True
        if target.name == entry.name:
            raise ValueError("the catalogue has its name for another target, which wins")
    return False


def _check_agreement(found: FoundTarget, target: TargetEntry, written: Catalog) -> None:
    model = next(each.name for each in written.models if target in each.targets)
    if model != found.model:
        raise ValueError(
            f"its tag says model {found.model}; the catalogue has it for model {model} and wins"
        )
    for field in ("weight", "tier"):
        tagged, here = getattr(found.entry, field), getattr(target, field)
        if field in found.entry.model_fields_set and tagged != here:
            raise ValueError(
                f"its tag says {field} {tagged:g}; the catalogue says {here:g} and wins"
            )


def _joined(model: ModelEntry | None, found: FoundTarget, written: Catalog) -> ModelEntry:
    """The model with that target too.

    Raises:
        ValueError: they don't go together, or nothing says what the model is.
    """
    if model is None:
        return ModelEntry.model_validate({**_described(found, written), "targets": (found.entry,)})
    if found.codec and found.codec not in {model.tensor_codec, model.picture_codec}:
        codecs = f"{model.tensor_codec or 'none'} and {model.picture_codec or 'none'}"
        raise ValueError(
            f"its tag {CODEC_TAG} is {found.codec}; model {model.name} has {codecs} for tensors "
            "and pictures"
        )
    if found.digest and found.digest != model.digest:
        raise ValueError(f"its tag {DIGEST_TAG} is not the digest of model {model.name}")
    return ModelEntry.model_validate({**dict(model), "targets": (*model.targets, found.entry)})


def _described(found: FoundTarget, written: Catalog) -> dict[str, object]:
    """A model that only tags name."""
    options = written.discovery
    fields: dict[str, JsonValue] | None = options.defaults.model if options is not None else None
    if fields is None:
        raise ValueError(
            f"the catalogue has no model {found.model}; write it, with `targets: []`, or describe "
            "such models in discovery.defaults.model"
        )
    described: dict[str, object] = {**fields, "name": found.model}
    if found.digest:
        described["digest"] = found.digest
    if found.codec == "raw_image":
        # The one codec that needs no tensors.
        described |= {"tensor_codec": None, "picture_codec": found.codec}
    elif found.codec:
        pictures = found.codec in get_args(PictureCodecName)
        described["picture_codec" if pictures else "tensor_codec"] = found.codec
    return described
