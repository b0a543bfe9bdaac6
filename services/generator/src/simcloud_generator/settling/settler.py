"""Settling a frame: parameters with hanging objects to parameters with objects at rest.

What is promised: the result is a pure function of (spec, frame, scene) and of the render
fingerprint, which names MuJoCo's version: bit-identical over processes, threads, order and
restarts. Draws (what falls from where, how turned) are equal on every machine; poses after the
fall are MuJoCo's floating point, so that another version or CPU level may differ, as pixels may.
Positions and quaternions are rounded to float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import numpy.typing as npt

from simcloud.errors import InvalidRequest
from simcloud.geometry import box_corners, pose_matrix, transform_points
from simcloud.scene.translate.types import NeutralScene
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.distributions import to_float32
from simcloud.spec.model import Spec
from simcloud.spec.parameters import DropRegion, FrameParameters, PlacedObject, Quaternion
from simcloud.spec.placement_model import Drop
from simcloud.spec.sample_objects import SETTLING_ATTEMPTS, SETTLING_FROZEN, dropped_out
from simcloud_generator.settling.hulls import Hull
from simcloud_generator.settling.shapes import falling_shape, standing_shape
from simcloud_generator.settling.simulation import Settled, simulate
from simcloud_generator.settling.surfaces import Float64
from simcloud_generator.settling.world import Falling, Standing

_AROUND_M = 0.5
"""How far beside a region something may stand and still be touched by what falls into it."""

_Box = tuple[Float64, Float64]


def physics_versions() -> dict[str, str]:
    """Libraries that settled poses depend on, for the render fingerprint."""
    return {"mujoco": mujoco.mj_versionString()}


def drops_something(spec: Spec) -> bool:
    """Whether frames of a spec have to be settled."""
    return any(isinstance(group.placement, Drop) for group in spec.randomization.objects)


class Settler:
    """Settles the frames of one stage; collision shapes are made once and kept.

    Args:
        stage: root layer of the scene.

    Raises:
        InvalidRequest: the stage can't be read.
    """

    def __init__(self, stage: Path) -> None:
        self._scene: NeutralScene = read_scene(stage)
        self._falling: dict[str, tuple[Hull, ...]] = {}
        self._standing: dict[str, tuple[Float64, ...]] = {}
        self._stage_boxes: list[_Box] = [_box(mesh.vertices) for mesh in self._scene.static]
        self._stage_pieces: dict[int, tuple[Float64, ...]] = {}

    def settle(self, parameters: FrameParameters) -> FrameParameters:
        """The frame with everything that hung at rest, and what found no place left out.

        The sampled values ``settling.attempts``, ``settling.frozen``, ``objects.<group>.count`` and
        ``objects.<group>.dropped_out`` become those of the result.

        Raises:
            SettlingFailed: physics came to nothing; the frame is to be quarantined.
            InvalidRequest: an asset that the scene doesn't hold.
        """
        for index, item in enumerate(parameters.objects):
            if item.asset not in self._scene.assets:
                known = ", ".join(sorted(self._scene.assets)) or "none"
                raise InvalidRequest(
                    f"objects[{index}].asset",
                    f"{item.name}: the scene has no {item.asset}; it has {known}",
                )
        hanging = [item for item in parameters.objects if item.fall is not None]
        if not hanging:
            return parameters
        falling = [Falling(item, self._hulls(item.asset)) for item in hanging]
        regions = list(dict.fromkeys(item.fall.region for item in hanging if item.fall))
        others = [item for item in parameters.objects if item.fall is None]
        settled = simulate(falling, self._obstacles(others, regions))
        return _with_result(parameters, hanging, settled)

    def _hulls(self, asset: str) -> tuple[Hull, ...]:
        if asset not in self._falling:
            self._falling[asset] = falling_shape(self._scene.assets[asset].meshes)
        return self._falling[asset]

    def _obstacles(
        self, others: Sequence[PlacedObject], regions: Sequence[DropRegion]
    ) -> list[Standing]:
        near = _Nearness(regions)
        found: list[Standing] = []
        for index, box in enumerate(self._stage_boxes):
            if near.touches(box):
                found += near.chosen(self._pieces_of_stage(index))
        for item in others:
            pose = pose_matrix(item.position_m, item.orientation_wxyz, item.scale)
            asset = self._scene.assets[item.asset]
            if near.touches(
                _box(transform_points(pose, box_corners(asset.minimum, asset.maximum)))
            ):
                pieces = self._pieces_of_asset(item.asset)
                found += near.chosen([transform_points(pose, piece) for piece in pieces])
        return found

    def _pieces_of_stage(self, index: int) -> tuple[Float64, ...]:
        if index not in self._stage_pieces:
            self._stage_pieces[index] = standing_shape([self._scene.static[index]])
        return self._stage_pieces[index]

    def _pieces_of_asset(self, name: str) -> tuple[Float64, ...]:
        if name not in self._standing:
            self._standing[name] = standing_shape(self._scene.assets[name].meshes)
        return self._standing[name]


class _Nearness:
    """What of a scene matters to some regions."""

    def __init__(self, regions: Sequence[DropRegion]) -> None:
        self._boxes = [_around(region) for region in regions]
        self._tops = [region.top_m for region in regions]

    def touches(self, box: _Box) -> bool:
        """Whether a box comes near a region, from below it to any height."""
        return any(
            bool((box[0][:2] <= high).all() and (box[1][:2] >= low).all())
            for low, high in self._boxes
        )

    def chosen(self, pieces: Sequence[Float64]) -> list[Standing]:
        """The pieces that matter, each with whether things may fall through it first."""
        found = []
        for piece in pieces:
            box = _box(piece)
            near = [
                top
                for (low, high), top in zip(self._boxes, self._tops, strict=True)
                if (box[0][:2] <= high).all() and (box[1][:2] >= low).all()
            ]
            if near:
                found.append(Standing(piece, overhead=bool(box[0][2] >= max(near) - 1e-6)))
        return found


def _with_result(
    parameters: FrameParameters, hanging: Sequence[PlacedObject], settled: Settled
) -> FrameParameters:
    rest: dict[str, PlacedObject | None] = {}
    lost: Counter[str] = Counter()
    for item, pose, out in zip(hanging, settled.poses, settled.taken_out, strict=True):
        lost[item.group] += bool(out)
        rest[item.name] = None if out else _at(item, pose)
    objects = [rest.get(item.name, item) for item in parameters.objects]
    values = dict(parameters.values)
    for group, count in lost.items():
        too_large = int(values.get(dropped_out(group), 0))
        values[dropped_out(group)] = too_large + count
        values[f"objects.{group}.count"] = sum(
            item is not None and item.group == group for item in objects
        )
    values[SETTLING_ATTEMPTS] = settled.attempts
    values[SETTLING_FROZEN] = settled.frozen
    return replace(
        parameters, objects=tuple(item for item in objects if item is not None), values=values
    )


def _at(item: PlacedObject, pose: Float64) -> PlacedObject:
    x, y, z = (to_float32(float(value)) for value in pose[:3])
    assert item.fall is not None
    return replace(
        item,
        position_m=(x, y, z),
        orientation_wxyz=_quaternion(pose[3:]),
        density_kg_m3=item.fall.density_kg_m3,
        friction=item.fall.friction,
        fall=None,
    )


def _quaternion(values: Float64) -> Quaternion:
    """Unit, float32, the one of the two alike whose w is not negative."""
    unit = values / np.sqrt((values**2).sum())
    w, x, y, z = (to_float32(float(value)) for value in (-unit if unit[0] < 0 else unit))
    return w, x, y, z


def _around(region: DropRegion) -> _Box:
    angle = np.radians(region.yaw_deg)
    cosine, sine = abs(np.cos(angle)), abs(np.sin(angle))
    width, depth = region.size_m
    reach = np.array([width * cosine + depth * sine, width * sine + depth * cosine]) / 2
    middle = np.array(region.centre_m)
    return middle - reach - _AROUND_M, middle + reach + _AROUND_M


def _box(points: npt.NDArray[np.floating]) -> _Box:
    low, high = points.min(axis=0), points.max(axis=0)
    return low.astype(np.float64), high.astype(np.float64)
