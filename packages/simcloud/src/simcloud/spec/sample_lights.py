"""Lights of a frame: draws under ``light.<name>.<field>``."""

from __future__ import annotations

from collections.abc import Sequence

from simcloud.spec.color import black_body_rgb
from simcloud.spec.distributions import to_float32
from simcloud.spec.draws import Draws, facing_quaternion, sphere_point, yaw_quaternion
from simcloud.spec.light_model import (
    DiskLightSpec,
    DistantLightSpec,
    LightSpec,
    RectLightSpec,
    SphereLightSpec,
)
from simcloud.spec.parameters import (
    DiskLight,
    DistantLight,
    Quaternion,
    RectLight,
    ShapeLight,
    SphereLight,
    Vector3,
)


def sample_rect_lights(specs: Sequence[RectLightSpec], draws: Draws) -> tuple[RectLight, ...]:
    """The rectangular lights of a frame: draws under ``light.<name>.<field>``."""
    lights = []
    for light in specs:
        name = f"light.{light.name}"
        radiance = draws.real(f"{name}.radiance", light.radiance)
        position, orientation = _light_pose(light, name, draws)
        lights.append(
            RectLight(
                name=light.name,
                position_m=position,
                orientation_wxyz=orientation,
                width_m=draws.real(f"{name}.width_m", light.width_m),
                height_m=draws.real(f"{name}.height_m", light.height_m),
                radiance_rgb=_rgb(light, name, radiance, draws),
            )
        )
    return tuple(lights)


def sample_lights(specs: Sequence[LightSpec], draws: Draws) -> tuple[ShapeLight, ...]:
    """The lights of other shapes: draws under ``light.<name>.<field>``."""
    return tuple(_shape_light(light, f"light.{light.name}", draws) for light in specs)


def _shape_light(light: LightSpec, name: str, draws: Draws) -> ShapeLight:
    if isinstance(light, DistantLightSpec):
        irradiance = draws.real(f"{name}.irradiance", light.irradiance)
        x, y, z = sphere_point(
            (0.0, 0.0, 0.0),
            distance=1.0,
            azimuth_deg=draws.real(f"{name}.azimuth_deg", light.azimuth_deg),
            elevation_deg=draws.real(f"{name}.elevation_deg", light.elevation_deg),
        )
        way = (0.0 - x, 0.0 - y, 0.0 - z)
        return DistantLight(light.name, way, _rgb(light, name, irradiance, draws))
    radiance = draws.real(f"{name}.radiance", light.radiance)
    radius = draws.real(f"{name}.radius_m", light.radius_m)
    colour = _rgb(light, name, radiance, draws)
    if isinstance(light, SphereLightSpec):
        centre = draws.vector(f"{name}.position", light.position_m)
        return SphereLight(light.name, centre, radius, colour)
    position, orientation = _light_pose(light, name, draws)
    return DiskLight(light.name, position, orientation, radius, colour)


def _rgb(light: RectLightSpec | LightSpec, name: str, strength: float, draws: Draws) -> Vector3:
    """Colour times strength; float32."""
    colour = black_body_rgb(draws.real(f"{name}.temperature_k", light.temperature_k))
    tint = (1.0, 1.0, 1.0)
    if light.tint is not None:
        tint = draws.vector(f"{name}.tint", light.tint)
    red, green, blue = (
        to_float32(strength * part * factor) for part, factor in zip(colour, tint, strict=True)
    )
    return red, green, blue


def _light_pose(
    light: RectLightSpec | DiskLightSpec, name: str, draws: Draws
) -> tuple[Vector3, Quaternion]:
    yaw_deg = 0.0
    if isinstance(light, RectLightSpec):
        yaw_deg = draws.real(f"{name}.yaw_deg", light.yaw_deg)
    if light.position_m is not None:
        return draws.vector(f"{name}.position", light.position_m), yaw_quaternion(yaw_deg)
    orbit = light.orbit
    assert orbit is not None  # the spec's own rule: one of the two
    azimuth_deg = draws.real(f"{name}.azimuth_deg", orbit.azimuth_deg)
    elevation_deg = draws.real(f"{name}.elevation_deg", orbit.elevation_deg)
    position = sphere_point(
        draws.vector(f"{name}.target", orbit.target),
        distance=draws.real(f"{name}.distance_m", orbit.distance_m),
        azimuth_deg=azimuth_deg,
        elevation_deg=elevation_deg,
    )
    orientation = facing_quaternion(
        azimuth_deg=azimuth_deg, elevation_deg=elevation_deg, yaw_deg=yaw_deg
    )
    return position, orientation
