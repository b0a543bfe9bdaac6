"""Where light comes from: found at the end of a path, or chosen and looked at past what is between.

Both ways find the same light, and each sample is weighted by the power heuristic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from simcloud_generator.backends.mitsuba.camera import make_ray
from simcloud_generator.backends.mitsuba.materials import PANE, SEE_THROUGH
from simcloud_generator.backends.mitsuba.stage import Hit, Point, Stage, offset_origin
from simcloud_generator.backends.mitsuba.surface import Jit, evaluate, fresnel_dielectric

FAR = 1e30

MAX_PASSED = 8
"""See-through surfaces that a path goes through before it ends; a shadow ray then counts as
stopped."""


@dataclass(frozen=True, slots=True, eq=False)
class Vertex:
    """Where paths are on surfaces."""

    position: Any
    hit: Hit
    point: Point
    wi: Any
    """Towards the viewer, in the shading frame."""
    share: Jit
    """Of the specular lobe."""


def found_light(
    stage: Stage, hit: Hit, direction: Any, *, density: Jit, distance: Jit, active: Jit
) -> Any:
    """Light at the end of rays that followed a surface.

    Args:
        stage: the frame.
        hit: what the rays met.
        direction: of the rays, unit.
        density: with which the surface chose them; below 0 where there was no alternative.
        distance: from that surface, through panes and holes.
        active: which rays count.
    """
    emitted, per_area, cosine = stage.emission(hit, direction)
    chosen = per_area * distance * distance / dr.maximum(cosine, 1e-6)
    missed = active & ~hit.valid
    around, around_density = stage.surroundings(direction, missed)
    chosen = dr.select(hit.valid, chosen, around_density * (1.0 - stage.light_share))
    weight = dr.select(density < 0.0, 1.0, _preferred(density, chosen))
    return dr.select(hit.valid, emitted, dr.select(missed, around, 0.0)) * weight


def _preferred(own: Jit, other: Jit) -> Jit:
    """Weight of a sample that another technique could have found, by their densities' squares."""
    ratio = other / dr.maximum(own, 1e-30)
    return dr.rcp(dr.fma(ratio, ratio, 1.0))


def chosen_light(stage: Stage, vertex: Vertex, sample: Any, active: Jit, followed: Jit) -> Any:
    """Light from one chosen light, by way of the surface.

    Args:
        stage: the frame.
        vertex: where the path is.
        sample: three uniform numbers.
        active: which paths ask.
        followed: which of them will also follow the surface to look for light.
    """
    lamp = sample.x < stage.light_share
    rest = dr.select(
        lamp,
        sample.x / stage.light_share,
        (sample.x - stage.light_share) / (1.0 - stage.light_share),
    )
    rest = dr.clip(rest, 0.0, 1.0 - 2.0**-24)
    direction, radiance, density = stage.choose_around(
        rest, mi.Point2f(sample.z, sample.y), active & ~lamp
    )
    density *= 1.0 - stage.light_share
    toward, distance, lamp_radiance, lamp_density, delta = _lamp(
        stage, mi.Point2f(rest, sample.y), vertex.position, active & lamp
    )
    direction = dr.select(lamp, toward, direction)
    radiance = dr.select(lamp, lamp_radiance, radiance)
    density = dr.select(lamp, lamp_density * stage.light_share, density)
    wo = vertex.point.frame.to_local(direction)
    value, found = evaluate(vertex.point.surface, vertex.share, vertex.wi, wo)
    weight = dr.select(followed & ~(lamp & delta), _preferred(density, found), 1.0)
    light = value * radiance * (weight / density)
    active = active & (density > 0.0) & (dr.max(light) > 0.0)
    active &= dr.dot(direction, vertex.point.face) > 0.0
    origin = offset_origin(vertex.position, vertex.hit.normal, direction)
    length = dr.select(lamp, distance, FAR)
    ray = make_ray(origin, direction, length)
    if stage.features.see_through:
        return dr.select(active, light, 0.0) * _transmittance(stage, ray, active)
    shadowed = stage.scene.ray_test(ray, active=active)
    return dr.select(active & ~shadowed, light, 0.0)


def _lamp(stage: Stage, sample: Any, position: Any, active: Jit) -> tuple[Any, Jit, Any, Jit, Jit]:
    """A point on a shining triangle, or a light from far away.

    Returns:
        Direction, distance, radiance, density per solid angle, and whether no other way than
        choosing it leads there.
    """
    place = sample.x * mi.Float(stage.light_count)
    row: Any = dr.minimum(mi.UInt32(place), stage.light_count - 1)
    alias = dr.gather(mi.Vector4u, stage.light_alias, row, active)
    threshold: Any = dr.reinterpret_array(mi.Float, alias.x)
    rest = place - mi.Float(row)
    own = rest < threshold
    row = dr.select(own, row, alias.y)
    # what is left of the number is as even as the number was
    rest = dr.select(own, rest / threshold, (rest - threshold) / (1.0 - threshold))
    rest = dr.clip(rest, 0.0, 1.0)
    chosen = dr.gather(mi.Vector4u, stage.light_alias, row, active)
    chance: Any = dr.reinterpret_array(mi.Float, chosen.z)
    first, second, third = (
        dr.gather(mi.Vector4f, stage.light_rows, 3 * row + part, active) for part in range(3)
    )
    corner, one, two = (mi.Vector3f(part.x, part.y, part.z) for part in (first, second, third))
    radiance = mi.Color3f(first.w, second.w, third.w)
    root = dr.sqrt(rest)
    target = corner + one * (1.0 - root) + two * (root * sample.y)
    normal = dr.cross(one, two)
    twice = dr.norm(normal)
    delta = twice <= 0.0
    line = target - mi.Vector3f(position)
    distance2: Any = dr.squared_norm(line)
    distance: Any = dr.sqrt(distance2)
    direction = dr.select(delta, -corner, line / distance)
    cosine = -dr.dot(direction, normal) / dr.maximum(twice, 1e-30)
    density: Any = dr.select(
        delta, chance, chance * 2.0 * distance2 / (twice * dr.maximum(cosine, 1e-6))
    )
    density = dr.select(delta | (cosine > 0.0), density, 0.0)
    return direction, dr.select(delta, FAR, distance * (1.0 - 1e-3)), radiance, density, delta


def passes(point: Point, direction: Any, sample: Jit) -> tuple[Jit, Jit]:
    """Which rays go straight through a surface, and which a pane mirrors."""
    reflected = _pane_reflectance(point.flags, point.surface.eta, -dr.dot(direction, point.frame.n))
    open_share = (1.0 - reflected) * (1.0 - point.opacity)
    through = sample < open_share
    return through, ~through & (sample < open_share + reflected)


def _pane_reflectance(flags: Jit, eta: Jit, cosine: Jit) -> Jit:
    """What the two faces of a pane reflect between them; 0 of what is none."""
    once = fresnel_dielectric(dr.abs(cosine), eta)
    return dr.select((flags & PANE) != 0, 2.0 * once / (1.0 + once), 0.0)


def _transmittance(stage: Stage, ray: Any, active: Jit) -> Jit:
    """How much of the light gets through to the end of shadow rays.

    Most rays meet nothing, or nothing that light passes: only those that do go step by step.
    """
    blocked = stage.scene.ray_test(ray, active=active)
    doubtful = blocked & stage.panes.ray_test(ray, active=blocked)

    def body(ray: Any, left: Jit, passed: Jit, active: Jit) -> Any:
        hit = stage.intersect(ray, active)
        opacity, flags, eta = stage.opacity(hit)
        mirrored = _pane_reflectance(flags, eta, dr.dot(ray.d, hit.normal))
        through = (1.0 - mirrored) * (1.0 - opacity)
        through = dr.select((flags & SEE_THROUGH) != 0, through, 0.0)
        passed = passed + 1
        through = dr.select(passed < MAX_PASSED, through, 0.0)
        left = dr.select(hit.valid, left * through, left)
        origin = offset_origin(ray.o + ray.d * hit.distance, hit.normal, ray.d)
        ray = make_ray(origin, ray.d, ray.maxt - hit.distance)
        return ray, left, passed, hit.valid & (left > 0.0)

    state = (ray, mi.Float(1.0), mi.UInt32(0), doubtful)
    found: Any = dr.while_loop(state, lambda *values: values[-1], body, label="shadows")
    return dr.select(doubtful, found[1], dr.select(blocked, 0.0, 1.0))
