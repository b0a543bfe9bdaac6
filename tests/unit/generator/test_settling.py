"""Dropped objects come to rest where they belong, touch but do not overlap, and always the same."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simcloud.geometry import Float64, affine_inverse, box_corners, pose_matrix, transform_points
from simcloud.scene.catalog import Catalog, read_catalog
from simcloud.spec.parameters import FrameParameters, PlacedObject
from simcloud.spec.sample import sample
from simcloud_generator.settling import simulation
from simcloud_generator.settling.settler import Settler
from simcloud_generator.settling.simulation import TOLERANCE_M, SettlingFailed
from simcloud_generator.settling.world import Falling, Standing, World, build_world
from support.drops import BIN_INNER_M, BIN_WALL_M, ONE_BIN, SIZES_M, drop_spec, drop_stage, heap


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drop_stage(tmp_path_factory.mktemp("drops"))


@pytest.fixture(scope="module")
def catalog(stage: Path) -> Catalog:
    return read_catalog(stage)


@pytest.fixture(scope="module")
def settler(stage: Path) -> Settler:
    return Settler(stage)


def corners(item: PlacedObject) -> Float64:
    """(8, 3) world corners of a box."""
    width, depth, height = SIZES_M[item.asset]
    pose = pose_matrix(item.position_m, item.orientation_wxyz, item.scale)
    half = (width / 2, depth / 2)
    return transform_points(pose, box_corners((-half[0], -half[1], 0.0), (*half, height)))


def overlap_m(left: Float64, right: Float64) -> float:
    """Depth by which two boxes overlap: the least over the axes that could part them."""
    axes = [box[1 << k] - box[0] for box in (left, right) for k in range(3)]
    axes += [np.cross(one, other) for one in axes[:3] for other in axes[3:]]
    depth = np.inf
    for axis in axes:
        length = np.sqrt((axis**2).sum())
        if length < 1e-9:
            continue
        a, b = left @ axis / length, right @ axis / length
        depth = min(depth, a.max() - b.min(), b.max() - a.min())
    return float(depth)


def dropped(parameters: FrameParameters) -> list[PlacedObject]:
    return [item for item in parameters.objects if item.group == "heap"]


def assert_apart(items: Sequence[PlacedObject]) -> None:
    for one, other in itertools.combinations(items, 2):
        depth = overlap_m(corners(one), corners(other))
        assert depth <= TOLERANCE_M + 1e-4, f"{one.name} and {other.name}"


@pytest.mark.parametrize("frame", range(3))
def test_what_is_dropped_into_a_bin_lies_in_its_hollow(
    settler: Settler, catalog: Catalog, frame: int
) -> None:
    spec = drop_spec(ONE_BIN, heap("bins"))
    settled = settler.settle(sample(spec, catalog, frame))
    (container,) = [item for item in settled.objects if item.group == "bins"]
    items = dropped(settled)
    assert len(items) == settled.values["objects.heap.count"]
    assert len(items) + int(settled.values["objects.heap.dropped_out"]) == 10
    assert len(items) >= 8
    assert_apart(items)
    back = affine_inverse(pose_matrix(container.position_m, container.orientation_wxyz))
    for item in items:
        inside = transform_points(back, corners(item))
        reach = np.abs(inside[:, :2]).max(axis=0)
        low = inside[inside[:, 2] < BIN_INNER_M[2]]
        assert (inside[:, 2] >= BIN_WALL_M - TOLERANCE_M).all(), item.name
        if len(low) == 8:  # what reaches over the rim may lean on it
            assert reach[0] <= BIN_INNER_M[0] / 2 + TOLERANCE_M, item.name
            assert reach[1] <= BIN_INNER_M[1] / 2 + TOLERANCE_M, item.name


def test_what_has_settled_stays_where_it_is(settler: Settler, catalog: Catalog) -> None:
    spec = drop_spec(ONE_BIN, heap("bins"))
    first = sample(spec, catalog, 1)
    falls = {item.name: item.fall for item in first.objects}
    settled = settler.settle(first)
    again = settler.settle(
        replace(
            settled,
            objects=tuple(replace(item, fall=falls[item.name]) for item in settled.objects),
        )
    )
    assert [item.name for item in again.objects] == [item.name for item in settled.objects]
    for before, after in zip(dropped(settled), dropped(again), strict=True):
        moved = np.abs(corners(before) - corners(after)).max()
        assert moved < 0.004, before.name


def test_things_lie_on_the_table_of_the_stage(settler: Settler, catalog: Catalog) -> None:
    group = heap("/World/Table", 6)
    settled = settler.settle(sample(drop_spec(group), catalog, 0))
    items = dropped(settled)
    assert len(items) >= 4
    assert_apart(items)
    lowest = [float(corners(item)[:, 2].min()) for item in items]
    assert min(lowest) == pytest.approx(0.7, abs=TOLERANCE_M)


def test_a_bin_of_the_stage_is_hollow(settler: Settler, catalog: Catalog) -> None:
    settled = settler.settle(sample(drop_spec(heap("/World/Bin", 4)), catalog, 2))
    lowest = [float(corners(item)[:, 2].min()) for item in dropped(settled)]
    assert len(lowest) == 4
    assert min(lowest) == pytest.approx(BIN_WALL_M, abs=TOLERANCE_M)


def test_what_leaves_its_region_is_taken_out_and_counted(
    settler: Settler, catalog: Catalog
) -> None:
    # a tower on the floor that collapses when its invisible walls vanish
    small = {"x_m": [-0.1, 0.1], "y_m": [-0.1, 0.1], "z_m": [0.0, 0.5]}
    settled = settler.settle(sample(drop_spec(heap(small, 20)), catalog, 0))
    left = len(dropped(settled))
    assert settled.values["objects.heap.dropped_out"] == 20 - left
    assert 0 < left < 20
    assert settled.values["objects.heap.count"] == left
    for item in dropped(settled):
        middle = corners(item).mean(axis=0)
        assert np.abs(middle[:2]).max() <= 0.1 + 1e-6


def test_walls_that_are_kept_hold_the_heap(settler: Settler, catalog: Catalog) -> None:
    small = {"x_m": [-0.15, 0.15], "y_m": [-0.15, 0.15], "z_m": [0.0, 0.5]}
    settled = settler.settle(sample(drop_spec(heap(small, 12, walls="kept")), catalog, 0))
    assert settled.values["objects.heap.dropped_out"] == 0
    for item in dropped(settled):
        assert np.abs(corners(item)[:, :2]).max() <= 0.15 + TOLERANCE_M


def test_frames_without_a_container_hold_nothing_that_falls(
    settler: Settler, catalog: Catalog
) -> None:
    nowhere = {**ONE_BIN, "count": 0}
    settled = settler.settle(sample(drop_spec(nowhere, heap("bins")), catalog, 0))
    assert settled.objects == ()
    assert settled.values["objects.heap.count"] == 0


def test_the_same_values_are_named_whether_or_not_anything_fell(
    settler: Settler, catalog: Catalog
) -> None:
    spec = drop_spec({**ONE_BIN, "count": {"integer": [0, 1]}}, heap("bins", 2))
    frames = [sample(spec, catalog, frame) for frame in range(8)]
    assert len({len(frame.objects) > 0 for frame in frames}) == 2
    names = {tuple(sorted(settler.settle(frame).values)) for frame in frames}
    assert len(names) == 1
    assert {"settling.attempts", "settling.frozen", "objects.heap.dropped_out"} <= set(names.pop())


def test_frames_that_drop_nothing_pass_untouched(settler: Settler, catalog: Catalog) -> None:
    parameters = sample(drop_spec(ONE_BIN), catalog, 0)
    assert settler.settle(parameters) is parameters


def test_the_order_of_frames_changes_no_pose(stage: Path, catalog: Catalog) -> None:
    spec = drop_spec(ONE_BIN, heap("bins", 6))
    frames = [sample(spec, catalog, frame) for frame in range(3)]
    forwards, backwards = Settler(stage), Settler(stage)
    first = [forwards.settle(frame) for frame in frames]
    second = [backwards.settle(frame) for frame in reversed(frames)]
    assert first == second[::-1]


_PRINT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from simcloud.scene.catalog import read_catalog
from simcloud.spec.sample import sample
from simcloud_generator.settling.settler import Settler
from support.drops import ONE_BIN, drop_spec, heap
stage = Path(sys.argv[2])
frame = sample(drop_spec(ONE_BIN, heap("bins")), read_catalog(stage), 4)
print(repr(Settler(stage).settle(frame)))
"""


def test_another_process_settles_to_the_same_bits(
    stage: Path, settler: Settler, catalog: Catalog
) -> None:
    here = repr(settler.settle(sample(drop_spec(ONE_BIN, heap("bins")), catalog, 4)))
    tests = str(Path(__file__).parents[2])
    printed = subprocess.run(
        [sys.executable, "-c", _PRINT, tests, str(stage)],
        env={
            **os.environ,
            "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F,-FMA4",
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "3",
        },
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed.strip() == here


def test_physics_that_blows_up_is_tried_again_with_smaller_steps(
    settler: Settler, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = sample(drop_spec(ONE_BIN, heap("bins", 3)), catalog, 0)
    build = build_world

    def exploding(
        falling: Sequence[Falling], standing: Sequence[Standing], *, step_s: float
    ) -> World:
        world = build(falling, standing, step_s=step_s)
        if step_s == simulation.STEP_S:
            world.velocities[0, 2] = np.nan
        return world

    monkeypatch.setattr(simulation, "build_world", exploding)
    settled = settler.settle(parameters)
    assert settled.values["settling.attempts"] == 2
    assert len(dropped(settled)) == 3


def test_physics_that_always_fails_says_so(
    settler: Settler, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = sample(drop_spec(ONE_BIN, heap("bins", 3)), catalog, 0)
    monkeypatch.setattr(simulation, "_WILD_M_S", 1e-3)
    with pytest.raises(SettlingFailed, match="m/s"):
        settler.settle(parameters)


def test_a_group_cannot_stand_on_what_is_dropped() -> None:
    top: dict[str, object] = {
        "name": "top",
        "assets": "die",
        "placement": {"kind": "on_top", "support": "heap"},
    }
    with pytest.raises(ValueError, match="dropped"):
        drop_spec(ONE_BIN, heap("bins"), top)
