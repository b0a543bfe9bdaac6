"""Which models of the furniture catalogue are converted, and what each needs besides the rules.

All are CC0 1.0 by their own licence file, which is kept beside the converted asset: the licence is
a matter of the model, not of the library folder it lies in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from noise import FloatArray
from prop_textures import woven_cloth

Draw = Callable[[np.random.Generator], FloatArray]


def _nothing() -> Mapping[str, float]:
    return MappingProxyType({})


def _no_pictures() -> Mapping[str, Draw]:
    return MappingProxyType({})


def _no_boxes() -> Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FurnitureModel:
    """One model of the library ``blendswap-cc-0``."""

    folder: str
    """Folder and file stem in the catalogue."""
    name: str
    """Ours: the folder's name in snake case."""
    label: str
    placement: str
    blend_swap: int
    """Number of the original on Blend Swap."""
    keep: Mapping[str, float] = field(default_factory=_nothing)
    """Share of triangles kept, by material, where the original is finer than a frame can show."""
    metals: tuple[str, ...] = ()
    """Materials that are bare metal; MTL has no word for it."""
    roughness: Mapping[str, float] = field(default_factory=_nothing)
    """Where the MTL's shininess is not to be believed."""
    redrawn: Mapping[str, Draw] = field(default_factory=_no_pictures)
    """Pictures we draw ourselves, by file stem, because the original's own source is in doubt."""
    author: str | None = None
    """As the licence file names them, where the catalogue has another name."""
    removed: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = field(
        default_factory=_no_boxes
    )
    """By material, a box of the asset frame (low and high corner, metres) that is emptied: where a
    maker's name stood."""
    linear: bool = False
    """The MTL's colours are linear already, not display values."""


FURNITURE: tuple[FurnitureModel, ...] = (
    FurnitureModel(
        "couch",
        "couch",
        "couch",
        "wall",
        78318,
        metals=("Couch_Chrome",),
        # The licence file credits a texture site that it does not speak for.
        redrawn={"Plain001": woven_cloth},
        author="JosephBennett (catalogue: TowerCG)",
    ),
    FurnitureModel("sofa2", "sofa_2", "couch", "wall", 92104),
    FurnitureModel("sofa", "sofa", "couch", "wall", 67450, roughness={"Leather": 0.38}),
    FurnitureModel(
        "bedWithTexture",
        "bed_with_texture",
        "bed",
        "wall",
        62576,
        author="numroud (catalogue: Nhumrod)",
        keep={"coverlet": 0.3, "mattress": 0.4, "leftPillow": 0.7, "rightPillow": 0.7},
    ),
    FurnitureModel("antiqueChair", "antique_chair", "chair", "floor", 87504),
    FurnitureModel("osakaChair", "osaka_chair", "chair", "floor", 89574),
    FurnitureModel("chair", "chair", "chair", "floor", 81708),
    FurnitureModel("chair2", "chair_2", "chair", "floor", 71094, metals=("Metallo_sedia",)),
    FurnitureModel(
        "decorativePlant",
        "decorative_plant",
        "potted plant",
        "floor",
        83379,
        keep={"Leaves": 0.5, "Branches": 0.2, "PotMat": 0.25},
    ),
    FurnitureModel("littlePlant", "little_plant", "potted plant", "floor", 72403),
    FurnitureModel("plant", "plant", "potted plant", "floor", 86278, keep={"pot": 0.3}),
    FurnitureModel(
        "orchids",
        "orchids",
        "potted plant",
        "floor",
        84182,
        keep={"Flower": 0.25, "Stem": 0.4, "Stalk": 0.4, "Leaf": 0.4},
        linear=True,
    ),
    FurnitureModel(
        "teddyBear",
        "teddy_bear",
        "teddy bear",
        "face",
        759,
        keep={"eyes": 0.06},
        roughness={"teddy": 0.95},
    ),
    FurnitureModel(
        "led_tv",
        "led_tv",
        "tv",
        "on_top",
        63306,
        author="numroud (catalogue: Nhumrod)",
        # Raised letters on the frame below the screen.
        removed={"grey_plastic": ((-0.02, -0.016, 0.0765), (0.02, -0.0125, 0.084))},
        keep={"grey_plastic": 0.5, "chrome_plastic": 0.3, "white_glossy_plastic": 0.3},
    ),
)
