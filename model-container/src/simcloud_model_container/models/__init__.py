"""Families of models, by the name that models.toml gives them."""

from __future__ import annotations

from collections.abc import Sequence

from simcloud_model_container.errors import RefusedStart
from simcloud_model_container.models.efficientnet_lite import EfficientNetLite
from simcloud_model_container.models.family import ModelFamily
from simcloud_model_container.models.nanodet import NanoDet


def make_family(family: str, labels: Sequence[str]) -> ModelFamily:
    """The pre- and post-processing of a family.

    Raises:
        RefusedStart: there is no such family.
    """
    match family:
        case "nanodet":
            return NanoDet(labels)
        case "efficientnet_lite":
            return EfficientNetLite(labels)
        case _:
            message = f"family {family!r} is unknown; there are nanodet and efficientnet_lite"
            raise RefusedStart(message)
