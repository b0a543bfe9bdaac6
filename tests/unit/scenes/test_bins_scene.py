"""The bins scene: what its builder writes, what its spec draws from it."""

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

FOLDER = SCENES / "bins"
CLASSES = ("blister_pack", "book", "bottle", "box", "can", "jar", "pouch", "roll", "tube")
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def spec() -> Spec:
    return Spec.model_validate(yaml.safe_load((FOLDER / "spec.yaml").read_text("utf-8")))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(FOLDER / "stage.usda")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bins")
    builder("bins").build(folder)
    return folder


def picture(path: Path) -> Any:
    return cv2.imread(str(path), cv2.IMREAD_COLOR)


def points_of(path: Path) -> list[Any]:
    stage = Usd.Stage.Open(str(path))
    return [
        np.array(UsdGeom.Mesh(prim).GetPointsAttr().Get())
        for prim in stage.Traverse()
        if prim.IsA(UsdGeom.Mesh)
    ]


def test_building_again_gives_the_files_of_the_repository(built: Path) -> None:
    patterns = ("*.usda", "library/*", "textures/*")
    made, kept = folder_bytes(built, *patterns), folder_bytes(FOLDER, *patterns)

    assert set(made) == set(kept)
    assert made["stage.usda"] == kept["stage.usda"]
    # Another CPU may round a cosine's last bit differently, so these are compared by what they say.
    for name in made:
        if name.endswith(".usdc"):
            pairs = zip(points_of(built / name), points_of(FOLDER / name), strict=True)
            assert all(np.allclose(one, other, atol=1e-6) for one, other in pairs)
        elif name.endswith(".jpg"):
            assert cv2.norm(picture(built / name), picture(FOLDER / name), cv2.NORM_INF) < 8


def test_the_spec_fits_the_stage_and_nothing_of_it_lies_elsewhere(
    spec: Spec, catalog: Catalog
) -> None:
    _, pictures, unresolved = UsdUtils.ComputeAllDependencies(str(FOLDER / "stage.usda"))

    assert check_against_scene(spec, catalog) == []
    assert not unresolved
    assert {Path(path).resolve() for path in pictures} == set((FOLDER / "textures").iterdir())


def test_items_are_labelled_and_of_the_size_of_goods(spec: Spec, catalog: Catalog) -> None:
    group = next(group for group in spec.randomization.objects if group.name == "item")
    items = [catalog.asset(str(name)) for name in group.assets.support()]

    assert len(items) >= 20
    assert {asset.label for asset in items} == set(CLASSES) == set(catalog.classes)
    for asset in items:
        assert 0.03 <= max(asset.bounds.size_m) <= 0.301, asset.name
        np.testing.assert_allclose(asset.base_m, 0.0, atol=1e-4)


def test_bins_are_no_objects_to_be_found_and_all_are_used(spec: Spec, catalog: Catalog) -> None:
    group = next(group for group in spec.randomization.objects if group.name == "bin")
    cells = {asset.name for asset in catalog.assets if asset.name.startswith(("pod_", "tote_"))}

    assert set(group.assets.support()) == cells
    assert all(catalog.asset(name).label is None for name in cells)
    assert catalog.static_labels == ()


def test_every_count_from_none_to_twelve_is_drawn(spec: Spec, catalog: Catalog) -> None:
    counts = Counter(
        sum(item.group == "item" for item in sample(spec, catalog, frame).objects)
        for frame in range(200)
    )

    assert set(counts) == set(range(13))


def test_the_scene_is_light() -> None:
    assert sum(p.stat().st_size for p in FOLDER.rglob("*") if p.is_file()) < 3 * MEGABYTE
