"""What a stage would cost, counted before anything of it is expanded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.scene.limits import SceneLimits
from simcloud.scene.stage import NONSENSE, drawn_prims, library_prims, plain_words, value
from simcloud.scene.translate.instancers import instance_counts
from simcloud.scene.translate.meshes import IMPLICIT_SHAPES
from simcloud.scene.translate.primitives import RINGS, SEGMENTS

_SHAPE_TRIANGLES = {"Cube": 12, "Plane": 2}
_ROUND_TRIANGLES = 2 * SEGMENTS * (RINGS + 2)
"""At least as many as any other implicit shape has."""


@dataclass(frozen=True, slots=True)
class Census:
    """Totals of a stage and its library; what instances draw counts as often as it is drawn."""

    prims: int
    meshes: int
    triangles: int
    instances: int

    def instanced(self, count: int) -> Census:
        """What ``count`` instances of this prototype come to."""
        return Census(
            count * self.prims,
            count * self.meshes,
            count * self.triangles,
            count * (self.instances + 1),
        )

    def plus(self, other: Census) -> Census:
        """Both together."""
        return Census(
            self.prims + other.prims,
            self.meshes + other.meshes,
            self.triangles + other.triangles,
            self.instances + other.instances,
        )


def take_census(stage: Any, limits: SceneLimits) -> Census:
    """Counts a stage, without expanding it.

    Raises:
        InvalidRequest: it goes beyond a limit; the prim at which it did is named.
    """
    counter = _Counter(stage, limits)
    total = counter.count(stage.GetPseudoRoot(), abstract=False)
    for prim in library_prims(stage):
        total = total.plus(counter.count(prim, abstract=True))
        counter.check(total, prim)
    return total


class _Counter:
    def __init__(self, stage: Any, limits: SceneLimits) -> None:
        self._stage = stage
        self._limits = limits
        self._prototypes: dict[str, Census] = {}
        self._walked = 0

    def count(self, root: Any, *, abstract: bool, inside: tuple[str, ...] = ()) -> Census:
        total = Census(0, 0, 0, 0)
        for prim in drawn_prims(root, abstract=abstract):
            self._walked += 1
            kind = str(prim.GetTypeName())
            try:
                triangles = _triangles(prim, kind, self._limits)
            except NONSENSE as error:
                raise InvalidRequest(
                    "scene", f"{prim.GetPath()} cannot be read: {plain_words(error)}"
                ) from error
            total = total.plus(Census(1, int(triangles > 0), triangles, 0))
            if kind == "PointInstancer":
                total = total.plus(self._instancer(prim, inside))
            self.check(total, prim)
        return total

    def check(self, total: Census, prim: Any) -> None:
        """Raises InvalidRequest when a total has gone beyond its limit."""
        limits = self._limits
        for name, found, most, setting in (
            ("instances", total.instances, limits.max_instances, "max_instances"),
            ("triangles", total.triangles, limits.max_triangles, "max_triangles"),
            ("prims", max(total.prims, self._walked), limits.max_prims, "max_prims"),
        ):
            if found > most:
                raise InvalidRequest(
                    "scene",
                    f"{found} {name} or more up to {prim.GetPath()}, at most {most} are taken "
                    f"(scene_limits.{setting}): simplify the stage, or raise the limit",
                )

    def _instancer(self, prim: Any, inside: tuple[str, ...]) -> Census:
        path = str(prim.GetPath())
        if path in inside:
            raise InvalidRequest("scene", f"{path} is a prototype of itself")
        total = Census(0, 0, 0, 0)
        for target, count in instance_counts(prim).items():
            total = total.plus(self._prototype(target, (*inside, path)).instanced(count))
            self.check(total, prim)
        return total

    def _prototype(self, target: str, inside: tuple[str, ...]) -> Census:
        if target not in self._prototypes:
            root = self._stage.GetPrimAtPath(target)
            if not root:
                raise InvalidRequest("scene", f"{inside[-1]} names {target}, which is not there")
            self._prototypes[target] = self.count(root, abstract=True, inside=inside)
        return self._prototypes[target]


def _triangles(prim: Any, kind: str, limits: SceneLimits) -> int:
    if kind in IMPLICIT_SHAPES:
        return _SHAPE_TRIANGLES.get(kind, _ROUND_TRIANGLES)
    if kind != "Mesh":
        return 0
    counts = value(prim.GetAttribute("faceVertexCounts"))
    points = value(prim.GetAttribute("points"))
    if points is not None and len(points) > 3 * limits.max_triangles:
        raise InvalidRequest(
            "scene",
            f"{prim.GetPath()} has {len(points)} points, which no {limits.max_triangles} triangles "
            "(scene_limits.max_triangles) need",
        )
    if counts is None or len(counts) == 0:
        return 0
    found = np.asarray(counts, dtype=np.int64)
    return int(np.maximum(found - 2, 0).sum())
