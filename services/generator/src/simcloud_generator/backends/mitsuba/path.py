"""Path tracing over a stage's tables, and the denoiser's guides: one kernel each.

Light is looked for at every surface twice, by choosing a light and by following the surface. The
last surface only chooses a light, which saves a ray, unless it mirrors: chosen lights are hardly
ever where a sharp lobe looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from simcloud_generator.backends.mitsuba.camera import CameraRays, make_ray
from simcloud_generator.backends.mitsuba.connect import (
    FAR,
    MAX_PASSED,
    Vertex,
    chosen_light,
    found_light,
    passes,
)
from simcloud_generator.backends.mitsuba.draws import Draws, mix
from simcloud_generator.backends.mitsuba.stage import Hit, Stage, offset_origin
from simcloud_generator.backends.mitsuba.surface import Jit, draw, evaluate, specular_share

ROULETTE_DEPTH = 3
"""Surfaces after which dark paths begin to end by chance."""

SHARP_ROUGHNESS = 0.3
"""Surfaces less rough than this are followed even if they are a path's last."""

DRAWS_PER_SURFACE = 8
_LIGHT, _JITTER, _LOBE, _DIRECTION, _ROULETTE, _OPACITY = range(6)
_FILM, _LENS = 6, 7
"""Decisions of a path, counted from ``DRAWS_PER_SURFACE`` times the surface's number."""


@dataclass(frozen=True, slots=True)
class Film:
    """Rows of a picture, and the samples of their pixels."""

    width: int
    top: int
    """First row."""
    rows: int
    spp: int
    seed: int
    """32 bits; frames and cameras have their own."""


def render_paths(stage: Stage, camera: CameraRays, film: Film, max_depth: int) -> Any:
    """Radiance, one value for each sample, pixel by pixel: Color3f of width W * H * spp."""
    draws, ray = _film_rays(camera, film)
    state = (
        ray,
        mi.Color3f(1.0),
        mi.Color3f(0.0),
        mi.UInt32(0),
        mi.UInt32(0),
        mi.Float(-1.0),
        mi.Float(0.0),
        mi.Bool(True),
    )

    def body(*values: Any) -> Any:
        ray, beta, light, depth, passed, density, way, active = values
        hit = stage.intersect(ray, active)
        light += beta * found_light(
            stage, hit, ray.d, density=density, distance=hit.distance + way, active=active
        )
        more = depth + 1 < max_depth
        # past the last surface rays only find light, straight on
        active = hit.valid if stage.features.see_through else hit.valid & more
        hit = _only(hit, active)
        point = stage.point(hit, ray.d)
        base = (depth * 16 + passed) * DRAWS_PER_SURFACE + DRAWS_PER_SURFACE
        position = ray.o + ray.d * hit.distance
        through, mirrored = mi.Bool(False), mi.Bool(False)
        if stage.features.see_through:
            through, mirrored = passes(point, ray.d, draws.one(base + _OPACITY))
            through &= active
            mirrored &= active & more
        scattered = active & more & ~through & ~mirrored
        sharp = scattered & (point.surface.roughness < SHARP_ROUGHNESS)
        wi = point.frame.to_local(-ray.d)
        share = specular_share(point.surface, wi)
        vertex = Vertex(position, hit, point, wi, share)
        followed = (depth + 2 < max_depth) | sharp
        light += beta * chosen_light(stage, vertex, _light_sample(draws, base), scattered, followed)
        wo = draw(point.surface, share, wi, draws.one(base + _LOBE), draws.pair(base + _DIRECTION))
        value, found = evaluate(point.surface, share, wi, wo)
        direction = point.frame.to_world(wo)
        outside = (found > 0.0) & (dr.dot(direction, point.face) > 0.0)
        weight = dr.select(outside, value / found, 0.0)
        if stage.features.see_through:
            mirror = ray.d - point.frame.n * (2.0 * dr.dot(ray.d, point.frame.n))
            direction = dr.select(mirrored, mirror, dr.select(through, ray.d, direction))
            weight = dr.select(scattered, weight, 1.0)
            density = dr.select(through, density, dr.select(mirrored, -1.0, found))
            way = dr.select(through, way + hit.distance, 0.0)
        else:
            density = found
        beta = beta * weight
        depth = dr.select(through, depth, depth + 1)
        if stage.features.see_through:
            passed = dr.select(through, passed + 1, passed)
            active &= passed < MAX_PASSED
        ray = make_ray(offset_origin(position, hit.normal, direction), direction, FAR)
        # the last surface has looked for light already
        active &= (depth + 1 < max_depth) | mirrored | sharp | through
        survives, beta = _roulette(beta, depth, draws.one(base + _ROULETTE))
        active &= survives
        return ray, beta, light, depth, passed, density, way, active

    result: Any = dr.while_loop(
        state,
        lambda *values: values[-1],
        body,
        labels=("ray", "beta", "light", "depth", "passed", "density", "way", "active"),
        label="paths",
    )
    return result[2]


def render_guides(stage: Stage, camera: CameraRays, film: Film) -> tuple[Any, Any]:
    """Albedo and shading normal in world, one value for each sample, pixel by pixel."""
    _, ray = _film_rays(camera, film)
    hit = stage.intersect(ray, mi.Bool(True), coherent=True)
    point = stage.point(hit, ray.d)
    if stage.features.see_through:
        active = hit.valid & (point.opacity < 0.5)
        state = (
            ray,
            hit.distance,
            point.surface.base_color,
            mi.Vector3f(point.frame.n),
            hit.normal,
            mi.UInt32(0),
            active,
        )

        def body(*values: Any) -> Any:
            ray, distance, albedo, normal, face, passed, active = values
            position = ray.o + ray.d * distance
            ray = make_ray(offset_origin(position, face, ray.d), ray.d, ray.maxt)
            hit = stage.intersect(ray, active)
            point = stage.point(hit, ray.d)
            albedo = dr.select(active, dr.select(hit.valid, point.surface.base_color, 0.0), albedo)
            normal = dr.select(
                active, dr.select(hit.valid, mi.Vector3f(point.frame.n), 0.0), normal
            )
            passed = passed + 1
            return (
                ray,
                hit.distance,
                albedo,
                normal,
                hit.normal,
                passed,
                hit.valid & (point.opacity < 0.5) & (passed < MAX_PASSED),
            )

        found: Any = dr.while_loop(state, lambda *values: values[-1], body, label="guides")
        albedo, normal = found[2], found[3]
    else:
        albedo, normal = point.surface.base_color, mi.Vector3f(point.frame.n)
    return dr.select(hit.valid, albedo, 0.0), dr.select(hit.valid, normal, 0.0)


def _film_rays(camera: CameraRays, film: Film) -> tuple[Draws, Any]:
    """Rays through all pixels, and the numbers of their paths."""
    index: Any = dr.arange(mi.UInt32, film.width * film.rows * film.spp)
    # divided by constants, not by data: whole-number division is slow
    pixel, sample = index // film.spp, index % film.spp
    row = pixel // film.width
    column = pixel - row * film.width
    row += dr.opaque(mi.UInt32, film.top)
    number = row * film.width + column
    draws = Draws(mix(number ^ mix(dr.opaque(mi.UInt32, film.seed))), sample, film.spp)
    place = draws.pair(mi.UInt32(_FILM))
    lens = draws.pair(mi.UInt32(_LENS)) if camera.lens else None
    return draws, camera.ray(mi.Float(column) + place.x, mi.Float(row) + place.y, lens)


def _roulette(beta: Any, depth: Jit, sample: Jit) -> tuple[Jit, Any]:
    """Which paths go on, and what they carry then."""
    brightest = dr.max(beta)
    chance = dr.select(depth >= ROULETTE_DEPTH, dr.minimum(brightest, 0.95), 1.0)
    return (brightest > 0.0) & (sample < chance), beta * dr.rcp(chance)


def _only(hit: Hit, active: Jit) -> Hit:
    return Hit(active, hit.distance, hit.face, hit.weights, hit.corners, hit.material, hit.normal)


def _light_sample(draws: Draws, base: Jit) -> Any:
    pair = draws.pair(base + _LIGHT)
    return mi.Point3f(pair.x, pair.y, draws.one(base + _JITTER))
