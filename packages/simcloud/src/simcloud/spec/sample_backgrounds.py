"""Backgrounds of a composite frame: draws under ``background.<camera>.<field>``."""

from __future__ import annotations

from typing import Protocol

from simcloud.spec.background_model import Backgrounds
from simcloud.spec.distributions import to_float32
from simcloud.spec.draws import Draws
from simcloud.spec.model import Spec
from simcloud.spec.parameters import BackgroundView


class ScenePictures(Protocol):
    """What the sampler must know of a scene's backgrounds."""

    def background_picture(self, name: str) -> str:
        """Image of a background, relative to the scene's root layer."""
        ...


def sample_backgrounds(
    spec: Spec, scene: ScenePictures, draws: Draws
) -> tuple[BackgroundView, ...]:
    """A background for each camera; none where the scene itself is drawn.

    Raises:
        InvalidRequest: a picture that the scene doesn't hold.
    """
    backgrounds = spec.randomization.backgrounds
    if spec.renderer.mode != "composite" or backgrounds is None:
        return ()
    return tuple(
        _background(backgrounds, f"background.{camera.name}", scene, draws)
        for camera in spec.cameras
    )


def _background(
    backgrounds: Backgrounds, name: str, scene: ScenePictures, draws: Draws
) -> BackgroundView:
    brightness = draws.real(f"{name}.brightness", backgrounds.brightness)
    red, green, blue = (
        to_float32(brightness * part) for part in draws.vector(f"{name}.tint", backgrounds.tint)
    )
    flipped = draws.stream(f"{name}.flipped").uniform() < backgrounds.flip_chance
    draws.values[f"{name}.flipped"] = flipped
    x, y = (to_float32(draws.stream(f"{name}.offset.{axis}").uniform()) for axis in "xy")
    return BackgroundView(
        picture=scene.background_picture(
            draws.text(f"{name}.picture", backgrounds.pictures),
        ),
        zoom=draws.real(f"{name}.zoom", backgrounds.zoom),
        offset=(x, y),
        flipped=flipped,
        gain_rgb=(red, green, blue),
        blur_px=draws.real(f"{name}.blur_px", backgrounds.blur_px),
        harmonize=draws.real(f"{name}.harmonize", backgrounds.harmonize),
        shadow=draws.real(f"{name}.shadow", backgrounds.shadow),
    )
