"""What a frame is made of once everything random has been drawn.

The sampler writes these, every backend reads them, and nothing else passes between the two. World
frame: right-handed, Z up, metres. Every float has been rounded to float32 before use, so that the
values are equal on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Scalar = bool | int | float | str
"""One sampled value as it stands in the index (``params.<name>``)."""

Vector3 = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Matrix4 = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class DropRegion:
    """An upright box that things fall into."""

    centre_m: tuple[float, float]
    """X and Y of its middle."""
    size_m: tuple[float, float]
    """Extent along its own X and Y."""
    yaw_deg: float
    """Its own X against the world's, counter-clockwise seen from above."""
    bottom_m: float
    top_m: float
    """What of the stage lies wholly above it is no obstacle: things fall in from there."""
    walls_from_m: float
    """Height at which its invisible walls begin."""
    walls: str
    """``while_falling``, ``kept`` or ``none``."""


@dataclass(frozen=True, slots=True)
class Fall:
    """What physics needs to know of an object that has been let go."""

    region: DropRegion
    density_kg_m3: float
    friction: float
    settle_s: float
    """Longest time of settling after the fall, simulated seconds."""


@dataclass(frozen=True, slots=True)
class StepMotion:
    """What something did within the step (``1 / fps``) that leads to the frame, in its own axes.

    One step earlier its origin was at ``p - R t`` and its orientation ``R * inverse(r)``, where
    ``p`` and ``R`` are those of the frame, ``t`` the translation and ``r`` the rotation.
    """

    translation_m: Vector3
    rotation_wxyz: Quaternion
    """Unit quaternion."""


@dataclass(frozen=True, slots=True)
class BackgroundView:
    """What stands behind the objects in one camera's composite picture."""

    picture: str
    """Path of an image, relative to the scene's root layer."""
    zoom: float
    """Magnification beyond what covers the view, 1 or more."""
    offset: tuple[float, float]
    """Place of the window in what is left over along x and y, 0 to 1."""
    flipped: bool
    """Whether it is mirrored left to right."""
    gain_rgb: Vector3
    """Factor on its linear values."""
    blur_px: float
    """Standard deviation of its blur, pixels."""
    harmonize: float
    """How far the objects' mean colour is brought to the background's, 0 to 1."""
    shadow: float
    """Darkness of contact shadows, 0 to 1."""


@dataclass(frozen=True, slots=True)
class PlacedObject:
    """One instance of a library asset."""

    name: str
    """Unique within the frame; the instance lives at ``/World/Objects/<name>``."""
    asset: str
    """Name of the class prim below ``/Library`` of the scene."""
    position_m: Vector3
    """World position of the asset's origin, which is the centre of its base."""
    orientation_wxyz: Quaternion = (1.0, 0.0, 0.0, 0.0)
    """Unit quaternion, asset to world, USD's component order."""
    scale: float = 1.0
    """Uniform."""
    tint_rgb: Vector3 | None = None
    """Linear factor on the base colour of every material of the asset; None leaves it alone."""
    labelled: bool = True
    """Whether its asset's label counts; a distractor without one is there and hides others."""
    step: StepMotion | None = None
    """How it moved to its place; None: it stood still."""
    velocity_m_s: Vector3 | None = None
    """Sampled for that motion, in its own axes; None: it stood still."""
    angular_deg_s: Vector3 | None = None
    """Likewise, as a rotation vector."""
    density_kg_m3: float | None = None
    """Sampled for its fall; None for what was not dropped."""
    friction: float | None = None
    """Likewise."""
    group: str = ""
    """Group of the spec that it belongs to."""
    fall: Fall | None = None
    """Set while it hangs above its region, to be settled before anything renders; None for what
    stands where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """What of a surface differs from its material; None leaves the material's own."""

    color_rgb: Vector3 | None = None
    """Linear base colour, in place of its texture too."""
    roughness: float | None = None
    """0 to 1, in place of its texture too."""
    metallic: float | None = None
    """0 to 1, in place of its texture too."""
    texture: str | None = None
    """Picture of the base colour, relative to the scene's root layer."""


@dataclass(frozen=True, slots=True)
class MaterialBinding:
    """A material of the scene bound to a prim of the scene for this frame."""

    prim: str
    """Absolute path of a geometry prim, for example ``/World/Room/Floor``."""
    material: str | None
    """Absolute path of a material prim, for example ``/World/Looks/oak``; None: each part keeps
    the one it has."""
    tint_rgb: Vector3 | None = None
    """Linear factor on the material's base colour; None leaves it alone."""
    finish: Finish | None = None
    """What else differs there."""


@dataclass(frozen=True, slots=True)
class MaterialChange:
    """A material of the scene that differs in this frame, wherever it is."""

    material: str
    """Absolute path of a material prim."""
    tint_rgb: Vector3 | None = None
    """Linear factor on its base colour."""
    finish: Finish | None = None
    """What else differs; what a binding says of a prim counts more."""


@dataclass(frozen=True, slots=True)
class DomeLight:
    """Environment light."""

    texture: str
    """Asset path of a latitude-longitude image, relative to the scene's root layer."""
    rotation_deg: float
    """About world +Z, counter-clockwise seen from above."""
    intensity: float
    """Factor on the image's radiance."""


@dataclass(frozen=True, slots=True)
class RectLight:
    """One-sided rectangular area light; like UsdLux it emits along its local -Z."""

    name: str
    position_m: Vector3
    orientation_wxyz: Quaternion
    width_m: float
    height_m: float
    radiance_rgb: Vector3
    """Linear RGB, W/(m^2 sr) up to the scene's common scale."""


@dataclass(frozen=True, slots=True)
class SphereLight:
    """A sphere that emits outward."""

    name: str
    position_m: Vector3
    radius_m: float
    radiance_rgb: Vector3
    """Linear RGB, W/(m^2 sr) up to the scene's common scale."""


@dataclass(frozen=True, slots=True)
class DiskLight:
    """One-sided round area light; like UsdLux it emits along its local -Z."""

    name: str
    position_m: Vector3
    orientation_wxyz: Quaternion
    radius_m: float
    radiance_rgb: Vector3
    """Linear RGB, W/(m^2 sr) up to the scene's common scale."""


@dataclass(frozen=True, slots=True)
class DistantLight:
    """Parallel light from infinitely far away."""

    name: str
    direction: Vector3
    """Unit, world, the way the light travels."""
    irradiance_rgb: Vector3
    """Linear RGB, W/m^2 up to the scene's common scale, on a surface that faces it."""


ShapeLight = SphereLight | DiskLight | DistantLight


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorEffects:
    """What a sensor does to one picture; the fields of ``simcloud.spec.sensor_model.Sensor``."""

    chromatic_aberration_px: float = 0.0
    defocus_blur_px: float = 0.0
    motion_blur_px: float = 0.0
    motion_blur_deg: float = 0.0
    vignetting: float = 0.0
    exposure_ev: float = 0.0
    full_well_electrons: float | None = None
    read_noise_electrons: float = 0.0
    adc_bits: int | None = None
    white_balance_k: float = 6500.0
    jpeg_quality: int | None = None
    noise_key: tuple[int, int] = (0, 0)
    """Two 64-bit words that the noise is counted from: of (seed, frame, camera)."""


@dataclass(frozen=True, slots=True)
class CameraView:
    """A pinhole camera and its picture's size; USD camera frame: -Z forward, +Y up."""

    name: str
    width: int
    height: int
    cam2world: Matrix4
    """Row-major, column vectors: ``p_world = cam2world @ p_camera``."""
    focal_length_mm: float
    horizontal_aperture_mm: float
    """Vertical aperture is ``horizontal_aperture_mm * height / width``: square pixels."""
    horizontal_aperture_offset_mm: float = 0.0
    """USD's sense: positive moves the picture's window to the camera's right."""
    vertical_aperture_offset_mm: float = 0.0
    """USD's sense: positive moves the picture's window up."""
    near_m: float = 0.01
    far_m: float = 1000.0
    exposure_ev: float | None = None
    """Stops added after auto exposure has been switched off; None asks for auto exposure."""
    f_stop: float | None = None
    """The lens's focal length over its aperture's diameter; None: a pinhole, all of it sharp."""
    focus_distance_m: float | None = None
    """Distance along the viewing axis of the plane that is sharp; None where ``f_stop`` is."""
    step: StepMotion | None = None
    """How it moved to its place; None: it stood still."""
    sensor: SensorEffects | None = None
    """What is done to the finished picture; None: nothing."""


@dataclass(frozen=True, slots=True)
class FrameParameters:
    """Everything that distinguishes one frame of a spec from another."""

    frame: int
    """Frame index."""
    render_seed: int
    """Seed of the renderer's sampler, uint32."""
    objects: tuple[PlacedObject, ...] = ()
    bindings: tuple[MaterialBinding, ...] = ()
    materials: tuple[MaterialChange, ...] = ()
    """Of two changes of one material the later counts, but tints multiply."""
    dome: DomeLight | None = None
    rect_lights: tuple[RectLight, ...] = ()
    lights: tuple[ShapeLight, ...] = ()
    """Lights of other shapes."""
    cameras: tuple[CameraView, ...] = ()
    backgrounds: tuple[BackgroundView, ...] = ()
    """One a camera, in their order, for a composite picture; empty: the scene itself is drawn."""
    values: dict[str, Scalar] = field(default_factory=dict)
    """Every sampled value by its full name, in the order of the names."""
    origins: dict[str, str] = field(default_factory=dict)
    """Which plug-in put a thing here or changed it, by ``objects[<name>]`` and its like: for
    errors, which say what is to be mended (``simcloud.spec.origins``)."""
