"""From hanging to rest: the simulation of one frame, judged before it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import mujoco
import numpy as np
import numpy.typing as npt

from simcloud.errors import SimcloudError
from simcloud.spec.parameters import DropRegion
from simcloud_generator.settling.surfaces import Float64
from simcloud_generator.settling.world import Falling, Standing, World, build_world

TOLERANCE_M = 0.002
"""Deepest overlap of two collision shapes after settling."""
STEP_S = 0.005
ATTEMPTS = 3
"""Simulations of a frame, each with half the step of the one before it."""
_REST_M_S = 0.005
_REST_RAD_S = 0.05
_CHECK_S = 0.04
"""Simulated time between two looks at whether all is at rest."""
_QUIET_CHECKS = 3
"""So many looks in a row must find rest: at the top of a bounce things are slow, too."""
_FALL_M_S = 2.0
"""Speed that the longest fall is reckoned with: the terminal one."""
_CLEARINGS = 6
"""Times that objects may be taken out and the rest settled again."""
_BELOW_M = 0.05
"""An object whose middle is this far below its region has fallen through."""
_WILD_M_S = 50.0
"""No honest fall reaches this speed: the simulation has blown up."""


class SettlingFailed(SimcloudError):
    """A frame's physics came to nothing, however small the step; the frame is quarantined."""

    reason = "SETTLING_FAILED"


def _told_by_counters(_: str) -> None:
    """MuJoCo's warnings are read from its counters after every step (``_check_sanity``)."""


# Left alone, MuJoCo appends each warning to MUJOCO_LOG.TXT in whatever folder the process runs in.
mujoco.set_mju_user_warning(_told_by_counters)


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Where things came to rest."""

    poses: Float64
    """(objects, 7) asset's origin, then quaternion (w, x, y, z); world, meaningless where taken
    out."""
    taken_out: npt.NDArray[np.bool_]
    """(objects,) what left its region, or would overlap something deeper than the tolerance."""
    attempts: int
    """Simulations that it took."""
    frozen: int
    """Objects that still moved when their time was up."""
    deepest_m: float
    """Deepest overlap left."""


def simulate(falling: Sequence[Falling], standing: Sequence[Standing]) -> Settled:
    """Lets everything fall and waits until it rests.

    Single-threaded and without any clock: the result is a function of the arguments, bit for bit
    within one render fingerprint (MuJoCo's version, the CPU's level).

    Args:
        falling: what falls; at least one.
        standing: what does not move.

    Raises:
        SettlingFailed: numbers that are none, or overlaps, in every attempt.
    """
    problem = ""
    for attempt in range(ATTEMPTS):
        try:
            run = _Run(falling, standing, STEP_S / 2**attempt)
            run.fall()
            run.clear()
        except _BlownUp as error:
            problem = str(error)
            continue
        return Settled(
            poses=run.asset_poses(),
            taken_out=run.taken_out,
            attempts=attempt + 1,
            frozen=run.moving(),
            deepest_m=run.deepest()[0],
        )
    raise SettlingFailed(f"physics failed {ATTEMPTS} times, the last one because {problem}")


class _BlownUp(Exception):
    """This attempt is worth nothing."""


@dataclass(slots=True)
class _Run:
    """One attempt."""

    falling: Sequence[Falling]
    standing: Sequence[Standing]
    step_s: float
    world: World = field(init=False)
    taken_out: npt.NDArray[np.bool_] = field(init=False)
    _time_s: float = field(init=False)
    _regions: list[DropRegion] = field(init=False)

    def __post_init__(self) -> None:
        try:
            self.world = build_world(self.falling, self.standing, step_s=self.step_s)
        except ValueError as error:  # MuJoCo's compiler: a shape too small to have a mass, say
            raise _BlownUp(f"MuJoCo refused the frame: {error}") from error
        self.taken_out = np.zeros(self.world.objects, dtype=bool)
        falls = [thing.item.fall for thing in self.falling if thing.item.fall is not None]
        self._regions = [fall.region for fall in falls]
        self._time_s = max(fall.settle_s for fall in falls)

    def fall(self) -> None:
        """The fall itself, between the invisible walls."""
        heights = [
            pose[2] - region.bottom_m
            for pose, region in zip(self.world.poses, self._regions, strict=True)
        ]
        self._settle(max(heights) / _FALL_M_S + self._time_s)
        model, world = self.world.model, self.world
        model.geom_contype[world.falling_walls] = 0
        model.geom_contype[world.overhead] = model.geom_conaffinity[world.overhead] = 1
        if len(world.falling_walls) or len(world.overhead):
            self._settle(self._time_s)

    def clear(self) -> None:
        """Takes out what has no place, and settles what rested on it, until all is well."""
        for _ in range(_CLEARINGS):
            misplaced = self._outside() | self._too_deep()
            if not misplaced.any():
                return
            for index in np.flatnonzero(misplaced):
                self._take_out(int(index))
            self._settle(self._time_s)
        raise _BlownUp(f"objects kept leaving their region, or overlapped after {_CLEARINGS} tries")

    def asset_poses(self) -> Float64:
        """(objects, 7) pose of each asset's own frame."""
        poses = self.world.poses.copy()
        for pose, thing in zip(poses, self.falling, strict=True):
            turn = np.empty(9)
            mujoco.mju_quat2Mat(turn, pose[3:])
            pose[:3] -= (turn.reshape(3, 3) * thing.centre_m).sum(axis=1)
        return poses

    def moving(self) -> int:
        """Objects that are not at rest."""
        return int((~self._at_rest() & ~self.taken_out).sum())

    def deepest(self) -> tuple[float, Float64]:
        """The deepest overlap, and each object's, metres."""
        depth = np.zeros(self.world.objects)
        contact = self.world.data.contact
        body = self.world.model.geom_bodyid[contact.geom] - 1
        for (first, second), distance in zip(body, contact.dist, strict=True):
            # the higher one of two objects gives way
            upper = second if first < 0 or self._is_higher(second, first) else first
            depth[upper] = max(depth[upper], -distance)
        depth[self.taken_out] = 0.0
        return float(depth.max(initial=0.0)), depth

    def _is_higher(self, one: int, other: int) -> bool:
        return one >= 0 and self.world.poses[one, 2] >= self.world.poses[other, 2]

    def _settle(self, longest_s: float) -> None:
        model, data = self.world.model, self.world.data
        steps = round(_CHECK_S / self.step_s)
        quiet = 0
        for _ in range(round(longest_s / _CHECK_S)):
            mujoco.mj_step(model, data, nstep=steps)
            self._check_sanity()
            quiet = quiet + 1 if self._at_rest().all() else 0
            if quiet >= _QUIET_CHECKS:
                break
        mujoco.mj_forward(model, data)

    def _check_sanity(self) -> None:
        data = self.world.data
        wrong = [mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL]
        wrong += [mujoco.mjtWarning.mjWARN_BADQACC, mujoco.mjtWarning.mjWARN_CONTACTFULL]
        for kind in wrong:
            if data.warning[kind].number:
                raise _BlownUp(f"MuJoCo warned of {kind.name}")
        if not np.isfinite(data.qpos).all() or not np.isfinite(data.qvel).all():
            raise _BlownUp("a pose is not finite")
        speed = np.abs(self.world.velocities[~self.taken_out, :3]).max(initial=0.0)
        if speed > _WILD_M_S:
            raise _BlownUp(f"an object reached {speed:.0f} m/s")

    def _at_rest(self) -> npt.NDArray[np.bool_]:
        """(objects,) what rests, has been taken out, or has fallen past its region for good."""
        velocity = self.world.velocities
        slow = np.abs(velocity[:, :3]).max(axis=1) < _REST_M_S
        slow &= np.abs(velocity[:, 3:]).max(axis=1) < _REST_RAD_S
        bottoms = np.array([region.bottom_m for region in self._regions])
        gone = self.world.poses[:, 2] < bottoms - 1.0
        found: npt.NDArray[np.bool_] = slow | self.taken_out | gone
        return found

    def _outside(self) -> npt.NDArray[np.bool_]:
        """(objects,) whose middle is beside or below their region."""
        found = np.zeros(self.world.objects, dtype=bool)
        for index, region in enumerate(self._regions):
            x, y, z = self.world.poses[index, :3] - [*region.centre_m, 0.0]
            angle = np.radians(region.yaw_deg)
            along = x * np.cos(angle) + y * np.sin(angle)
            across = y * np.cos(angle) - x * np.sin(angle)
            found[index] = (
                abs(along) > region.size_m[0] / 2
                or abs(across) > region.size_m[1] / 2
                or z < region.bottom_m - _BELOW_M
            )
        return found & ~self.taken_out

    def _too_deep(self) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self.deepest()[1] > TOLERANCE_M
        return found

    def _take_out(self, index: int) -> None:
        """Away from everything, touching nothing, at rest, weightless."""
        model = self.world.model
        model.geom_contype[self.world.object_geoms[index]] = 0
        model.geom_conaffinity[self.world.object_geoms[index]] = 0
        model.body_gravcomp[index + 1] = 1.0
        self.world.velocities[index] = 0.0
        self.taken_out[index] = True
