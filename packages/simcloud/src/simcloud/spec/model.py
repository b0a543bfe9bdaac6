"""The spec: what makes a frame. These models are the only definition of it.

The JSON Schema (``schema/spec.json``), the docs and the canonical form are made from them. Lengths
are metres, angles degrees, the world is Z up.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from simcloud.annotators import ANNOTATORS, Encoding
from simcloud.spec.background_model import Backgrounds
from simcloud.spec.base import Name, SpecModel
from simcloud.spec.camera_model import Camera, UnknownStanding, check_rigs
from simcloud.spec.distributions import Distribution
from simcloud.spec.joint_model import JointTable
from simcloud.spec.light_model import Dome, LightSpec, RectLightSpec
from simcloud.spec.material_model import MaterialChoice
from simcloud.spec.object_model import ObjectGroup, Region, support_problems
from simcloud.spec.plugin_model import PluginRandomizer
from simcloud.spec.references import check_references


class SceneRef(SpecModel):
    """Which OpenUSD stage, by content."""

    root: str = Field(min_length=1, max_length=512)
    """Path of the root layer, relative to the scene's folder (in a file: to the spec). Of an
    imported run: the format of its source."""
    digest: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 over the root layer and all its dependencies; filled in when a run is created. Of an
    imported run: over names, sizes and SHA-256 of all files of its source."""


class Renderer(SpecModel):
    """How pixels are made."""

    backend: Literal["auto", "mitsuba", "isaac", "imported"] = "auto"
    """Renderer; ``auto`` is resolved when a run is created. ``imported``: none, the pictures were
    made elsewhere (`simcloud import`); no generator takes such a spec."""
    mode: Literal["full", "composite"] = "full"
    """``full`` renders the scene; ``composite`` its objects alone, by direct light and without a
    room, onto the pictures of ``randomization.backgrounds``: far cheaper, labels by the same rays.
    """
    variant: str = Field(default="auto", max_length=64)
    """Variant of the backend (``llvm_ad_rgb``, ``scalar_rgb``, ``cuda_ad_rgb``); pixels of two
    variants differ. ``auto`` is resolved when a run is created."""
    samples_per_pixel: int = Field(default=4, ge=1, le=4096)
    """Paths a pixel; the noise falls with the square root."""
    max_depth: int = Field(default=4, ge=1, le=64)
    """Longest path, in segments: 2 is direct light."""
    denoise: bool = True
    """Whether the picture is denoised with albedo and normals as guides."""
    guide_samples: int = Field(default=12, ge=1, le=1024)
    """Samples a pixel of the denoiser's guides. 12 on a jittered grid guide it as well as 32
    independent ones; the variant ``scalar_rgb`` takes at most 4, each of which costs it dearly."""


class Randomization(SpecModel):
    """Named distributions over the scene's parameters."""

    values: dict[Name, Distribution] = Field(default_factory=dict, max_length=64)
    """Values that other distributions refer to by name, as in `{from: daylight}`."""
    joint: tuple[JointTable, ...] = Field(default=(), max_length=16)
    """Values that are drawn together, as one row of a table."""
    region: Region = Region()
    """Where objects on the floor may be."""
    dome: Dome | None = None
    """Environment light; unset keeps the stage's own lights alone."""
    rect_lights: tuple[RectLightSpec, ...] = Field(default=(), max_length=16)
    """Area lights added to the stage's own."""
    lights: tuple[LightSpec, ...] = Field(default=(), max_length=16)
    """Lights of other shapes: spheres, disks, and parallel light from far away."""
    materials: tuple[MaterialChoice, ...] = Field(default=(), max_length=64)
    """Materials bound to prims of the stage, and changes of materials wherever they are."""
    objects: tuple[ObjectGroup, ...] = Field(default=(), max_length=64)
    """Objects of the library."""
    backgrounds: Backgrounds | None = None
    """Pictures behind the objects; only ``renderer.mode`` ``composite`` draws them."""
    plugins: tuple[PluginRandomizer, ...] = Field(default=(), max_length=16)
    """Randomizers of your own; each sees the frame as sampled, before any other."""


def _known_annotators(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in ANNOTATORS:
            raise ValueError(f"unknown annotator {name!r}; there are: {', '.join(ANNOTATORS)}")
    if len(set(names)) != len(names):
        raise ValueError("an annotator is named twice")
    return tuple(name for name in ANNOTATORS if name in names)


class Spec(SpecModel):
    """What makes a frame."""

    version: Literal["simcloud.spec/v1"] = "simcloud.spec/v1"
    """Version of this document."""
    seed: int = Field(default=0, ge=0, le=2**53 - 1)
    """Root of all randomness."""
    scene: SceneRef
    """The stage."""
    cameras: tuple[Camera, ...] = Field(min_length=1, max_length=16)
    """Each takes a picture of every frame."""
    annotators: Annotated[tuple[str, ...], AfterValidator(_known_annotators)] = Field(
        default=("rgb", "bounding_box_2d_tight"), min_length=1
    )
    """What is stored of each picture; kept in the order of the annotator table."""
    encodings: dict[str, Encoding] = Field(default_factory=dict)
    """Encoding by annotator; defaults are filled in from the annotator table."""
    renderer: Renderer = Renderer()
    """How pixels are made."""
    fps: float = Field(default=30.0, gt=0, le=100_000)
    """Steps a second: ``motion_vectors`` tell what moved within one of them."""
    randomization: Randomization = Randomization()
    """What differs from frame to frame."""

    @model_validator(mode="before")
    @classmethod
    def _encodings_filled_in(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        given = data.get("encodings") or {}
        names = data.get("annotators", cls.model_fields["annotators"].default)
        if not isinstance(given, dict) or not isinstance(names, list | tuple):
            return data
        defaults = {
            name: ANNOTATORS[name].encodings[0].value
            for name in names
            if name in ANNOTATORS and ANNOTATORS[name].is_layer
        }
        return {**data, "encodings": {**defaults, **given}}

    @model_validator(mode="after")
    def _consistent(self) -> Spec:
        for annotator, encoding in self.encodings.items():
            if annotator not in self.annotators:
                raise ValueError(f"encodings: {annotator!r} is not among the annotators")
            allowed = ANNOTATORS[annotator].encodings
            if encoding not in allowed:
                raise ValueError(
                    f"encodings: {annotator} can't be {encoding.value}; it can be "
                    f"{', '.join(item.value for item in allowed)}"
                )
        if self.renderer.mode == "composite" and self.randomization.backgrounds is None:
            raise ValueError(
                "renderer.mode composite needs randomization.backgrounds: name some pictures"
            )
        groups = [group.name for group in self.randomization.objects]
        both = (*self.randomization.rect_lights, *self.randomization.lights)
        lights = [light.name for light in both]
        for kind, names in (
            ("cameras", [camera.name for camera in self.cameras]),
            ("randomization.joint", [table.name for table in self.randomization.joint]),
            ("randomization.objects", groups),
            ("randomization.plugins", [item.name for item in self.randomization.plugins]),
            ("randomization.materials", [item.name for item in self.randomization.materials]),
            ("randomization.rect_lights and lights", lights),
        ):
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"{kind}: a name is used twice: {twice!r}")
        unknown = {isinstance(camera.placement, UnknownStanding) for camera in self.cameras}
        if unknown != {self.renderer.backend == "imported"}:
            raise ValueError(
                "cameras: placement unknown and renderer.backend imported go together: they say "
                "that the pictures were made elsewhere (`simcloud import`)"
            )
        check_rigs(self.cameras)
        for problem in support_problems(self.randomization.objects):
            raise ValueError(f"randomization.objects: {problem}")
        check_references(self)
        return self


def differing_fields(left: Spec, right: Spec) -> list[str]:
    """Paths of the fields in which two specs differ, at most 20, in order."""
    found: list[str] = []
    _compare(left.model_dump(mode="json"), right.model_dump(mode="json"), "", found)
    return found[:20]


def _compare(left: object, right: object, path: str, found: list[str]) -> None:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            _compare(left.get(key), right.get(key), f"{path}.{key}" if path else key, found)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            _compare(one, other, f"{path}[{index}]", found)
    elif left != right:
        found.append(path)
