"""A frame as MuJoCo sees it: what stands, what falls, and the invisible walls around regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from simcloud.geometry import rotation_matrix
from simcloud.spec.parameters import DropRegion, PlacedObject
from simcloud_generator.settling.hulls import Hull
from simcloud_generator.settling.surfaces import Float64, Int64

_EVERYTHING = 1
"""Collision bit of what collides with everything; the others are those of walls."""
_WALL_BITS = 30
_WALL_HEIGHT_M = 20.0
_WALL_HALF_M = 0.1
_SOFTNESS_S = 2.5
"""Time constant of contacts, in steps; MuJoCo asks for at least 2."""
_TERMINAL_M_S = 2.0
"""Damping lets nothing fall faster, so that nothing tunnels through what is thin."""
_GRAVITY_M_S2 = 9.81
_SPIN_DAMPING_HZ = 6.0
"""Rate at which spinning and rolling die away: round things come to rest, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """A convex piece of what does not move."""

    points: Float64
    """(N, 3) world, metres."""
    overhead: bool
    """It lies wholly above every region: no obstacle until the fall is over."""


@dataclass(frozen=True, slots=True, eq=False)
class Falling:
    """An object and its hulls, in the asset's frame before its scale."""

    item: PlacedObject
    hulls: tuple[Hull, ...]

    @property
    def centre_m(self) -> Float64:
        """(3,) centre of its mass from the asset's origin, scale included, asset's axes."""
        volume = sum(hull.volume_m3 for hull in self.hulls)
        weighted = [hull.centre_m * (hull.volume_m3 / volume) for hull in self.hulls]
        centre: Float64 = np.sum(weighted, axis=0) * self.item.scale
        return centre


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A compiled frame. Object i is body i + 1, with its origin in the centre of its mass.

    Damping acts at a body's origin: anywhere else it would turn what falls.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    falling_walls: Int64
    """Geoms of the walls that vanish after the fall."""
    overhead: Int64
    """Geoms that are no obstacle during the fall."""
    object_geoms: tuple[Int64, ...]
    """Geoms of each object."""

    @property
    def objects(self) -> int:
        """How many fall."""
        return len(self.object_geoms)

    @property
    def poses(self) -> Float64:
        """(objects, 7) centre of mass, then quaternion (w, x, y, z); a view of the state."""
        poses: Float64 = self.data.qpos.reshape(-1, 7)
        return poses

    @property
    def velocities(self) -> Float64:
        """(objects, 6) linear, then angular; a view of the state."""
        velocities: Float64 = self.data.qvel.reshape(-1, 6)
        return velocities


def build_world(
    falling: Sequence[Falling], standing: Sequence[Standing], *, step_s: float
) -> World:
    """Compiles a frame with every object where it hangs.

    Args:
        falling: what falls; at least one.
        standing: what does not move.
        step_s: time step, simulated seconds.
    """
    builder = _Builder(step_s)
    for piece in standing:
        builder.stand(piece)
    regions = _regions(falling)
    for number, region in enumerate(regions):
        builder.wall_in(region, number)
    for thing in falling:
        assert thing.item.fall is not None
        builder.fall(thing, _wall_bit(regions.index(thing.item.fall.region)))
    return builder.compile()


def _regions(falling: Sequence[Falling]) -> list[DropRegion]:
    found = [thing.item.fall.region for thing in falling if thing.item.fall is not None]
    return list(dict.fromkeys(found))


def _wall_bit(number: int) -> int:
    # 31 bits are all there are: the walls of a 31st region hold the first one's objects, too
    return 1 << (1 + number % _WALL_BITS)


class _Builder:
    def __init__(self, step_s: float) -> None:
        self._spec = mujoco.MjSpec()
        option = self._spec.option
        option.timestep = step_s
        option.gravity = [0.0, 0.0, -_GRAVITY_M_S2]
        option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        option.impratio = 10.0  # friction that does not creep
        # else MuJoCo starts again from the beginning when it meets a NaN, and says nothing
        option.disableflags = int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self._solref = [_SOFTNESS_S * step_s, 1.0]
        self._meshes: dict[tuple[int, float], str] = {}
        self._walls: list[str] = []
        self._overhead: list[str] = []
        self._objects: list[list[str]] = []
        self._count = 0

    def stand(self, piece: Standing) -> None:
        geom = self._mesh_geom(self._spec.worldbody, self._mesh(piece.points, 1.0))
        geom.friction = [0.0, 0.0, 0.0]  # a contact takes the larger one of its two sides
        if piece.overhead:
            geom.contype = geom.conaffinity = 0
            self._overhead.append(geom.name)

    def wall_in(self, region: DropRegion, number: int) -> None:
        """Four walls around a region, each one overlapping its neighbours' corners."""
        if region.walls == "none":
            return
        angle = math.radians(region.yaw_deg)
        half = (region.size_m[0] / 2, region.size_m[1] / 2)
        for axis, side in ((0, -1), (0, 1), (1, -1), (1, 1)):
            offset = [0.0, 0.0]
            offset[axis] = side * (half[axis] + _WALL_HALF_M)
            size = [half[0] + 2 * _WALL_HALF_M, half[1] + 2 * _WALL_HALF_M, _WALL_HEIGHT_M / 2]
            size[axis] = _WALL_HALF_M
            geom = self._named(self._spec.worldbody.add_geom())
            geom.type = mujoco.mjtGeom.mjGEOM_BOX
            geom.size = size
            geom.pos = [
                region.centre_m[0] + offset[0] * math.cos(angle) - offset[1] * math.sin(angle),
                region.centre_m[1] + offset[0] * math.sin(angle) + offset[1] * math.cos(angle),
                region.walls_from_m + _WALL_HEIGHT_M / 2,
            ]
            geom.quat = [math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)]
            geom.contype, geom.conaffinity = _wall_bit(number), 0
            geom.friction = [0.0, 0.0, 0.0]
            if region.walls == "while_falling":
                self._walls.append(geom.name)

    def fall(self, thing: Falling, wall_bit: int) -> None:
        fall, item = thing.item.fall, thing.item
        assert fall is not None
        body = self._spec.worldbody.add_body()
        centre = thing.centre_m
        turned = rotation_matrix(item.orientation_wxyz) @ centre
        body.pos = (np.array(item.position_m) + turned).tolist()
        body.quat = list(item.orientation_wxyz)
        body.add_freejoint()
        names = []
        for hull in thing.hulls:
            geom = self._mesh_geom(body, self._mesh(hull.points, item.scale))
            geom.pos = (-centre).tolist()
            geom.density = fall.density_kg_m3
            geom.friction = [fall.friction, 0.005, 0.0001]
            geom.conaffinity = _EVERYTHING | wall_bit
            names.append(geom.name)
        self._objects.append(names)

    def compile(self) -> World:
        model = self._spec.compile()
        mass = model.body_mass[1:]
        damping = model.dof_damping.reshape(-1, 6)
        damping[:, :3] = (mass * _GRAVITY_M_S2 / _TERMINAL_M_S)[:, None]
        damping[:, 3:] = (model.body_inertia[1:].max(axis=1) * _SPIN_DAMPING_HZ)[:, None]
        return World(
            model=model,
            data=mujoco.MjData(model),
            falling_walls=_ids(model, self._walls),
            overhead=_ids(model, self._overhead),
            object_geoms=tuple(_ids(model, names) for names in self._objects),
        )

    def _mesh(self, points: Float64, scale: float) -> str:
        key = (id(points), scale)
        if key not in self._meshes:
            mesh = self._spec.add_mesh()
            mesh.name = self._meshes[key] = f"mesh_{len(self._meshes)}"
            mesh.uservert = (points * scale).ravel().tolist()
            mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
        return self._meshes[key]

    def _mesh_geom(self, body: mujoco.MjsBody, mesh: str) -> mujoco.MjsGeom:
        geom = self._named(body.add_geom())
        geom.type = mujoco.mjtGeom.mjGEOM_MESH
        geom.meshname = mesh
        return geom

    def _named(self, geom: mujoco.MjsGeom) -> mujoco.MjsGeom:
        geom.name = f"geom_{self._count}"
        geom.solref = self._solref
        geom.condim = 3  # sliding friction alone; spinning and rolling are damped
        self._count += 1
        return geom


def _ids(model: mujoco.MjModel, names: Sequence[str]) -> Int64:
    kind = mujoco.mjtObj.mjOBJ_GEOM
    return np.array([mujoco.mj_name2id(model, kind, name) for name in names], dtype=np.int64)
