"""Rays of a camera: a pinhole, or a thin lens where the view carries one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from simcloud.geometry import matrix4
from simcloud.spec.parameters import CameraView
from simcloud_generator.backends.mitsuba.surface import Jit


@dataclass(frozen=True, slots=True, eq=False)
class CameraRays:
    """A camera's constants on the renderer's device."""

    lens: bool
    """Whether rays begin on a lens rather than in a point."""
    _axes: tuple[Any, Any, Any]
    _eye: Any
    _scale: tuple[Jit, Jit]
    _shift: tuple[Jit, Jit]
    _near: Jit
    _far: Jit
    _radius: Jit
    _focus: Jit

    def ray(self, x: Jit, y: Jit, sample: Any | None) -> Any:
        """Rays from the near to the far plane.

        Args:
            x: image coordinates in pixels, to the right.
            y: downwards.
            sample: two uniform numbers, the place on the lens; None without one.
        """
        local = mi.Vector3f(
            dr.fma(x, self._scale[0], self._shift[0]),
            dr.fma(y, self._scale[1], self._shift[1]),
            -1.0,
        )
        origin = self._eye
        if sample is not None:
            sine, cosine = dr.sincos(sample.y * (2.0 * dr.pi))
            radius = dr.sqrt(sample.x) * self._radius
            place = mi.Vector3f(radius * cosine, radius * sine, 0.0)
            local = local - place / self._focus
            origin = origin + self._world(place)
        length = dr.norm(local)
        direction = self._world(local / length)
        begin = origin + direction * (self._near * length)
        return make_ray(begin, direction, (self._far - self._near) * length)

    def _world(self, local: Any) -> Any:
        return self._axes[0] * local.x + self._axes[1] * local.y + self._axes[2] * local.z


def make_ray(origin: Any, direction: Any, length: Any) -> Any:
    """Rays of some length; Mitsuba wants a time and wavelengths beside it."""
    ray: Any = mi.Ray3f
    return ray(origin, direction, length, 0.0, mi.Color0f())


def camera_rays(camera: CameraView) -> CameraRays:
    """The rays of a view."""

    def one(value: float) -> Jit:
        return dr.opaque(mi.Float, float(value))

    matrix = matrix4(camera.cam2world)
    per_mm = camera.width / camera.horizontal_aperture_mm
    scale = 1.0 / (camera.focal_length_mm * per_mm)
    # image point of the viewing axis: the window is shifted by the aperture's offsets
    axis_x = camera.width / 2 - camera.horizontal_aperture_offset_mm * per_mm
    axis_y = camera.height / 2 + camera.vertical_aperture_offset_mm * per_mm
    lens = camera.f_stop is not None and camera.focus_distance_m is not None
    radius = camera.focal_length_mm * 1e-3 / (2.0 * (camera.f_stop or 1.0)) if lens else 0.0
    return CameraRays(
        lens=lens,
        _axes=tuple(  # type: ignore[arg-type]
            mi.Vector3f(*(one(value) for value in matrix[:3, column])) for column in range(3)
        ),
        _eye=mi.Point3f(*(one(value) for value in matrix[:3, 3])),
        _scale=(one(scale), one(-scale)),
        _shift=(one(-axis_x * scale), one(axis_y * scale)),
        _near=one(camera.near_m),
        _far=one(camera.far_m),
        _radius=one(radius),
        _focus=one(camera.focus_distance_m or 1.0),
    )
