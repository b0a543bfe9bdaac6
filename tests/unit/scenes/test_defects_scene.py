"""The defects scene: what its builder writes, what its spec draws from it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from pxr import Usd, UsdGeom, UsdUtils

from simcloud.scene.catalog import Catalog, read_catalog
from simcloud.spec.check import check_against_scene
from simcloud.spec.model import Spec
from simcloud.spec.sample import sample
from support.scene_builders import SCENES, builder, folder_bytes

FOLDER = SCENES / "defects"
CLASSES = (
    "crazing",
    "inclusion",
    "patches",
    "pitted_surface",
    "rolled-in_scale",
    "scratches",
)
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def spec() -> Spec:
    return Spec.model_validate(yaml.safe_load((FOLDER / "spec.yaml").read_text("utf-8")))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(FOLDER / "stage.usda")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("defects")
    builder("defects").build(folder)
    return folder


def points_of(path: Path) -> list[Any]:
    stage = Usd.Stage.Open(str(path))
    return [
        np.array(UsdGeom.Mesh(prim).GetPointsAttr().Get())
        for prim in stage.Traverse()
        if prim.IsA(UsdGeom.Mesh)
    ]


def picture(path: Path) -> Any:
    return cv2.imread(str(path), cv2.IMREAD_COLOR)


def test_building_again_gives_the_files_of_the_repository(built: Path) -> None:
    patterns = ("*.usda", "library/*", "textures/*")
    made, kept = folder_bytes(built, *patterns), folder_bytes(FOLDER, *patterns)

    assert set(made) == set(kept)
    assert made["stage.usda"] == kept["stage.usda"]
    # Another CPU may round a cosine's last bit differently, so these are compared by what they say.
    for name in made:
        if name.endswith(".usdc"):
            pairs = zip(points_of(built / name), points_of(FOLDER / name), strict=True)
            assert all(np.allclose(one, other, atol=1e-7) for one, other in pairs)
        elif name.endswith(".jpg"):
            assert cv2.norm(picture(built / name), picture(FOLDER / name), cv2.NORM_INF) < 8


def test_the_spec_fits_the_stage_and_nothing_of_it_lies_elsewhere(
    spec: Spec, catalog: Catalog
) -> None:
    _, pictures, unresolved = UsdUtils.ComputeAllDependencies(str(FOLDER / "stage.usda"))

    assert check_against_scene(spec, catalog) == []
    assert not unresolved
    assert all(Path(path).resolve().is_relative_to(FOLDER) for path in pictures)
    assert {Path(path).name for path in pictures} == {
        path.name for path in (FOLDER / "textures").iterdir()
    }


def test_classes_are_the_six_of_neu_and_the_plate_is_none(catalog: Catalog) -> None:
    assert catalog.classes == tuple(sorted(CLASSES))
    assert catalog.static_labels == ()


def test_the_spec_draws_every_variant_of_every_class_alike(spec: Spec, catalog: Catalog) -> None:
    (group,) = spec.randomization.objects
    names = group.assets.support()
    per_class = Counter(catalog.asset(str(name)).label for name in names)

    assert set(names) == catalog.asset_names
    assert set(per_class) == set(CLASSES)
    assert len(set(per_class.values())) == 1
    assert getattr(group.assets, "weights", None) is None


def test_plates_carry_none_to_three_defects_and_all_classes_are_about_as_frequent(
    spec: Spec, catalog: Catalog
) -> None:
    frames = [sample(spec, catalog, frame) for frame in range(300)]
    counts = Counter(len(frame.objects) for frame in frames)
    labels = Counter(catalog.asset(item.asset).label for f in frames for item in f.objects)

    assert set(counts) == {0, 1, 2, 3}
    mean = sum(labels.values()) / len(CLASSES)
    assert all(0.7 * mean < labels[label] < 1.3 * mean for label in CLASSES)


def test_defects_are_flat_small_and_just_above_the_plate(catalog: Catalog) -> None:
    for asset in catalog.assets:
        width, depth, height = asset.bounds.size_m
        assert 0.0015 < max(width, depth) < 0.036
        assert height == 0.0
        assert 0.0 < asset.bounds.minimum[2] < 1e-4


def test_the_scene_is_light() -> None:
    assert sum(p.stat().st_size for p in FOLDER.rglob("*") if p.is_file()) < 4 * MEGABYTE
