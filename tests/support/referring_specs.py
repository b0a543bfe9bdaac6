"""Small specs whose distributions refer to each other, and the scene that they fit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from simcloud.spec.canonical import problems
from simcloud.spec.model import Spec
from simcloud.spec.parameters import Scalar, Vector3
from simcloud.spec.sample import sample
from support.scene_contents import EmptyScene

Json = dict[str, Any]


class Contents(EmptyScene):
    """A scene of two environments and one asset."""

    asset_names = frozenset({"crate"})
    environment_names = frozenset({"lab", "lobby"})
    material_paths = frozenset({"/Looks/a", "/Looks/b"})
    geometry_paths = frozenset({"/Floor"})

    def asset_size_m(self, name: str) -> Vector3:
        return (0.4, 0.4, 0.4)

    def asset_label(self, name: str) -> str | None:
        return "crate"

    def environment_texture(self, name: str) -> str:
        return f"hdri/{name}.exr"


SCENE = Contents()
LAMP: Json = {
    "name": "key",
    "position_m": [0, 0, 2.7],
    "width_m": 1.8,
    "height_m": 0.9,
    "radiance": 5,
}
WEATHER: Json = {
    "name": "weather",
    "columns": ["environment", "temperature_k", "haze"],
    "rows": [["lab", 3000, 0.5], ["lobby", 6000, 0.25]],
    "weights": [1, 3],
}
CAMERA: Json = {
    "name": "main",
    "width_px": 64,
    "height_px": 48,
    "placement": {
        "kind": "look_at",
        "eye": [{"uniform": [-1, 1]}, -4, 1.5],
        "target": [0, 0, 0],
    },
}


def make(**randomization: object) -> Spec:
    return Spec.model_validate(
        {
            "seed": 3,
            "scene": {"root": "stage.usda"},
            "cameras": [CAMERA],
            "randomization": copy.deepcopy(randomization),
        }
    )


def dome(**fields: object) -> Json:
    return {"environments": {"choice": ["lab", "lobby"]}, **fields}


def values(spec: Spec, frame: int) -> dict[str, Scalar]:
    return sample(spec, SCENE, frame).values


def refusal(**randomization: object) -> str:
    with pytest.raises(ValidationError) as caught:
        make(**randomization)
    return "; ".join(f"{path}: {words}" for path, words in problems(caught.value))
