"""What a surface does with light, as Dr.Jit expressions over all rays at once.

The metallic-roughness part of Disney's model as Mitsuba's ``principled`` evaluates it (Burley,
"Extending the Disney BRDF to a BSDF", 2015): a diffuse lobe with retro-reflection, and a GGX lobe
whose Fresnel term is a dielectric's or, by ``metallic``, Schlick's. Directions are in the shading
frame, the normal is +Z, and the side that is looked at is the front.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

Jit = Any
"""A Dr.Jit array of the variant in force."""

MIN_ALPHA = 0.001
MIN_LOBE = 0.1
"""Neither lobe is drawn less often than this where both are there: its weights stay bounded."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A material where rays hit it."""

    base_color: Jit
    """Linear RGB."""
    roughness: Jit
    metallic: Jit
    eta: Jit
    """Index of refraction of the dielectric part."""


def luminance(color: Jit) -> Jit:
    """Rec. 709 luminance of linear RGB."""
    return dr.fma(0.2126, color.x, dr.fma(0.7152, color.y, 0.0722 * color.z))


def eta_of_specular(specular: Jit) -> Jit:
    """Index of refraction whose reflectivity head-on is ``0.08 * specular``."""
    return 2.0 * dr.rcp(1.0 - dr.sqrt(0.08 * specular)) - 1.0


def fresnel_dielectric(cosine: Jit, eta: Jit) -> Jit:
    """Unpolarised reflectivity seen from outside, ``eta`` above 1."""
    transmitted = dr.safe_sqrt(1.0 - (1.0 - cosine * cosine) / (eta * eta))
    parallel = (eta * cosine - transmitted) / (eta * cosine + transmitted)
    perpendicular = (cosine - eta * transmitted) / (cosine + eta * transmitted)
    return 0.5 * (parallel * parallel + perpendicular * perpendicular)


def _schlick(cosine: Jit) -> Jit:
    rest = dr.clip(1.0 - cosine, 0.0, 1.0)
    square = rest * rest
    return square * square * rest


def _alpha(surface: Surface) -> Jit:
    return dr.maximum(surface.roughness * surface.roughness, MIN_ALPHA)


def _smith_g1(alpha2: Jit, cosine: Jit) -> Jit:
    cosine2 = cosine * cosine
    return 2.0 * dr.rcp(1.0 + dr.sqrt(dr.fma(alpha2, (1.0 - cosine2) / cosine2, 1.0)))


def specular_share(surface: Surface, wi: Jit) -> Jit:
    """How often the specular lobe is drawn, by what both lobes reflect towards the viewer."""
    head_on = dr.square((surface.eta - 1.0) / (surface.eta + 1.0))
    rise = _schlick(wi.z)
    base = luminance(surface.base_color)
    dielectric = (1.0 - surface.metallic) * dr.lerp(head_on, 1.0, rise)
    specular = dielectric + surface.metallic * dr.lerp(base, 1.0, rise)
    diffuse = (1.0 - surface.metallic) * base
    share = specular / dr.maximum(specular + diffuse, 1e-6)
    return dr.select(surface.metallic < 1.0, dr.clip(share, MIN_LOBE, 1.0 - MIN_LOBE), 1.0)


def evaluate(surface: Surface, share: Jit, wi: Jit, wo: Jit) -> tuple[Jit, Jit]:
    """Value times the outgoing cosine, and the density with which :func:`draw` finds ``wo``.

    Args:
        surface: the material.
        share: of :func:`specular_share` for ``wi``.
        wi: towards the viewer, z above 0.
        wo: towards the light; below the surface both results are 0.
    """
    lit = (wo.z > 0.0) & (wi.z > 0.0)
    cosine_i, cosine_o = dr.maximum(wi.z, 1e-6), dr.maximum(wo.z, 1e-6)
    half = dr.normalize(wi + wo)
    turn = dr.clip(dr.dot(wi, half), 0.0, 1.0)
    alpha = _alpha(surface)
    alpha2 = alpha * alpha
    spread = dr.fma(half.z * half.z, alpha2 - 1.0, 1.0)
    distribution = alpha2 / (dr.pi * spread * spread)
    visible = _smith_g1(alpha2, cosine_i)
    lobe = distribution * visible * 0.25 / cosine_i
    dielectric = (1.0 - surface.metallic) * fresnel_dielectric(turn, surface.eta)
    tinted = dr.lerp(surface.base_color, mi.Color3f(1.0), _schlick(turn))
    specular = (surface.metallic * tinted + dielectric) * (lobe * _smith_g1(alpha2, cosine_o))
    fade_i, fade_o = _schlick(cosine_i), _schlick(cosine_o)
    retro = 2.0 * surface.roughness * turn * turn
    shape = (1.0 - 0.5 * fade_i) * (1.0 - 0.5 * fade_o)
    shape += retro * (fade_o + fade_i + fade_o * fade_i * (retro - 1.0))
    cosine = cosine_o * dr.inv_pi
    diffuse = surface.base_color * ((1.0 - surface.metallic) * shape * cosine)
    density = share * lobe + (1.0 - share) * cosine
    return dr.select(lit, specular + diffuse, 0.0), dr.select(lit, density, 0.0)


def draw(surface: Surface, share: Jit, wi: Jit, lobe: Jit, sample: Jit) -> Jit:
    """A direction towards which light may come, in the shading frame; it may lie below.

    Args:
        surface: the material.
        share: of :func:`specular_share` for ``wi``.
        wi: towards the viewer.
        lobe: uniform in 0..1, chooses the lobe.
        sample: two uniform numbers.
    """
    specular = lobe < share
    sine_phi, cosine_phi = dr.sincos(2.0 * dr.pi * sample.x)
    # visible normals by spherical caps (Dupuy and Benyoub, 2023)
    alpha = _alpha(surface)
    stretched = dr.normalize(mi.Vector3f(alpha * wi.x, alpha * wi.y, wi.z))
    height = dr.fma(1.0 - sample.y, 1.0 + stretched.z, -stretched.z)
    radius = dr.select(specular, dr.safe_sqrt(1.0 - height * height), dr.sqrt(sample.y))
    x, y = radius * cosine_phi, radius * sine_phi
    cap = mi.Vector3f(x, y, height) + stretched
    normal = dr.normalize(mi.Vector3f(alpha * cap.x, alpha * cap.y, dr.maximum(cap.z, 1e-6)))
    mirrored = normal * (2.0 * dr.dot(wi, normal)) - wi
    spread = mi.Vector3f(x, y, dr.safe_sqrt(1.0 - sample.y))
    return dr.select(specular, mirrored, spread)
