"""A frame's parameters as edits of the open stage, in one layer of our own.

Poses come settled, from the simulation that all backends share; Isaac's own physics never runs.
Only what differs from the frame before is written: a prim whose asset stays gets a new transform,
and Kit need not load it again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64, affine_inverse, matrix4, pose_matrix
from simcloud.scene.stage import LIBRARY_ROOT, OBJECTS_ROOT, gf_matrix, normalization
from simcloud.scene.translate.types import NeutralScene
from simcloud.spec.parameters import (
    CameraView,
    DiskLight,
    DistantLight,
    DomeLight,
    FrameParameters,
    RectLight,
    ShapeLight,
    Vector3,
)
from simcloud_generator.backends.frame_scene import FrameScene, Group, Part
from simcloud_generator.backends.isaac.authoring import (
    bind,
    define,
    over,
    put,
    put_transform,
    remove,
    rigid,
    unbind,
)
from simcloud_generator.backends.isaac.stage_labels import author_labels
from simcloud_generator.backends.isaac.tints import author_tinted

ROOT = "/Simcloud"
"""Prim of the frame's cameras and lights."""

FOCUS_STEP = 2.0**-20
"""Relative change of the focus distance from one capture to the next: it can be told apart in
float32 and cannot be seen. It comes back in ``camera_params``, so data of an earlier frame are
recognised even when nothing else has moved."""

FOCUS_STEPS = 256

PINHOLE_FOCUS_M = 10.0
"""Focus distance of a camera without a lens; it has no effect, since its f-stop is 0."""

POLE_TO_Z = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
"""Turns a dome's pole (+Y, as UsdLux has it) to world +Z; its centre then lies towards -Y."""


class FrameLayer:
    """Writes frames into a stage; everything is undone by :meth:`close`.

    Args:
        stage: the open ``Usd.Stage``.
        scene: what was read of it.
    """

    def __init__(self, stage: Any, scene: NeutralScene) -> None:
        from pxr import Sdf, UsdGeom

        self._stage = stage
        self._scene = scene
        self._stage2world = normalization(stage)
        self.world2stage = affine_inverse(self._stage2world)
        self.metres_per_unit = float(np.sqrt((self._stage2world[:3, 0] ** 2).sum()))
        transforms = UsdGeom.XformCache()
        self._library = {
            name: gf_matrix(
                transforms.GetLocalToWorldTransform(stage.GetPrimAtPath(f"{LIBRARY_ROOT}/{name}"))
            )
            for name in scene.assets
        }
        world = stage.GetPrimAtPath(OBJECTS_ROOT.rpartition("/")[0])
        self._world2parent = affine_inverse(
            gf_matrix(transforms.GetLocalToWorldTransform(world)) if world else np.eye(4)
        )
        # Anonymous layers: nothing is ever written to the scene's files.
        self.layer = Sdf.Layer.CreateAnonymous("simcloud_frame.usda")
        self._setup = Sdf.Layer.CreateAnonymous("simcloud_labels.usda")
        self._objects: dict[str, tuple[object, ...]] = {}
        self._others: set[str] = set()
        self._bound: set[str] = set()
        self.problems: list[str] = []
        """What could not be written, each as ``<prim path>: <what>``."""
        self._open()

    def _open(self) -> None:
        own = self._stage.GetPrimAtPath(OBJECTS_ROOT)
        leftovers = [str(child.GetPath()) for child in own.GetChildren()] if own else []
        self.problems += author_labels(self._stage, self._setup, self._scene)
        for path in leftovers:  # no other backend shows them: this place is the frame's
            over(self._setup, path).active = False
        define(self.layer, OBJECTS_ROOT, "Xform")
        for scope in (ROOT, f"{ROOT}/Cameras", f"{ROOT}/Lights"):
            define(self.layer, scope, "Scope")
        paths = self._stage.GetSessionLayer().subLayerPaths
        paths.insert(0, self._setup.identifier)
        paths.insert(0, self.layer.identifier)

    def close(self) -> None:
        """Takes the edits out of the stage; calling it twice is harmless."""
        paths = self._stage.GetSessionLayer().subLayerPaths
        for layer in (self.layer, self._setup):
            if layer.identifier in paths:
                paths.remove(layer.identifier)

    def apply(self, parameters: FrameParameters, frame: FrameScene, serial: int) -> None:
        """Writes a frame.

        Args:
            parameters: its cameras and lights.
            frame: its objects and their materials.
            serial: of the capture; consecutive ones are told apart in ``camera_params``.

        Raises:
            InvalidRequest: an object's name is no name of a prim, or the dome's image is missing.
        """
        from pxr import Sdf

        self._check(parameters)  # before anything is written: half a frame would stay
        others: set[str] = set()
        with Sdf.ChangeBlock():
            self._apply_objects(frame)
            self._apply_bindings(frame)
            for camera in parameters.cameras:
                others.add(self._camera(camera, serial))
            for light in parameters.rect_lights:
                others.add(self._rect_light(light))
            for shape in parameters.lights:
                others.add(self._shape_light(shape))
            if parameters.dome is not None:
                others.add(self._dome(parameters.dome))
            self._own_domes(hidden=parameters.dome is not None)
            for path in self._others - others:
                remove(self.layer, path)
        self._others = others

    def _check(self, parameters: FrameParameters) -> None:
        from pxr import Sdf

        for index, placed in enumerate(parameters.objects):
            if not Sdf.Path.IsValidIdentifier(placed.name):
                raise InvalidRequest(
                    f"objects[{index}].name", f"{placed.name!r} is no name of a USD prim"
                )
        if parameters.dome is not None and not self._image(parameters.dome).is_file():
            raise InvalidRequest(
                "dome.texture",
                f"{parameters.dome.texture} is not there, seen from {self._scene.root}",
            )

    def _image(self, dome: DomeLight) -> Path:
        return (Path(self._scene.root).parent / dome.texture).resolve()

    def camera_matrix(self, camera: CameraView) -> Float64:
        """(4, 4) from the camera's frame to the stage's, in stage units, without scale."""
        return rigid(self.world2stage @ matrix4(camera.cam2world))

    def object_matrix(self, group: Group) -> Float64 | None:
        """(4, 4) from the prim of a placed object to the stage's frame; None for other groups."""
        if not group.asset or group.local2world is None:
            return None
        pose = self.world2stage @ group.local2world @ self._stage2world
        return pose @ self._library[group.asset]

    def _apply_objects(self, frame: FrameScene) -> None:
        wanted: dict[str, tuple[object, ...]] = {}
        for group in frame.groups:
            matrix = self.object_matrix(group)
            if matrix is None:
                continue
            looks = tuple((part.material.path, part.tint_rgb) for part in group.parts)
            wanted[group.prim] = (group.asset, looks)
            if self._objects.get(group.prim) != wanted[group.prim]:
                remove(self.layer, group.prim)
                self._object(group)
            put_transform(over(self.layer, group.prim), self._world2parent @ matrix)
        for path in self._objects.keys() - wanted.keys():
            remove(self.layer, path)
        self._objects = wanted

    def _object(self, group: Group) -> None:
        from pxr import Sdf

        library = f"{LIBRARY_ROOT}/{group.asset}"
        spec = define(self.layer, group.prim)
        spec.referenceList.Prepend(Sdf.Reference("", library))
        spec.active = True
        spec.instanceable = False  # materials are bound below it
        looks: dict[str, str] = {}
        for part in group.parts:
            path = group.prim + part.mesh.path.removeprefix(library)
            if part.tint_rgb is None:
                if part.material.path != part.mesh.material:
                    self._bind(path, part.mesh.path, part.material.path)
                continue
            if part.material.path not in looks:
                folder = f"{group.prim}/SimcloudLooks"
                define(self.layer, folder, "Scope")
                look = f"{folder}/look_{len(looks)}"
                looks[part.material.path] = look
                problem = author_tinted(self._stage, self.layer, look, part.material, part.tint_rgb)
                if problem is not None:
                    self._note(f"{part.material.path}: {problem}")
            self._bind(path, part.mesh.path, looks[part.material.path])

    def _bind(self, path: str, original: str, material: str) -> None:
        prim = self._stage.GetPrimAtPath(original)
        if not prim or prim.IsInstanceProxy():
            self._note(f"{original}: materials cannot be bound inside of instances")
            return
        bind(self.layer, path, material)

    def _apply_bindings(self, frame: FrameScene) -> None:
        """Materials of the stage's own geometry: written where the geometry is.

        The nearest bound prim above a mesh counts, which USD cannot say in one place when the mesh
        has a binding of its own.
        """
        bound: set[str] = set()
        parts = [part for group in frame.groups if not group.asset for part in group.parts]
        looks = self._tinted_looks(parts)
        for part in parts:
            if part.tint_rgb is not None:
                look = looks[part.material.path, part.tint_rgb]
            elif part.material.path != part.mesh.material:
                look = part.material.path
            else:
                continue
            self._bind(part.mesh.path, part.mesh.path, look)
            bound.add(part.mesh.path)
        for path in self._bound - bound:
            unbind(self.layer, path)
        self._bound = bound

    def _tinted_looks(self, parts: list[Part]) -> dict[tuple[str, Vector3], str]:
        """Copies of the materials of the stage's own geometry that this frame tints."""
        folder = f"{ROOT}/Looks"
        remove(self.layer, folder)
        looks: dict[tuple[str, Vector3], str] = {}
        for part in parts:
            tint = part.tint_rgb
            if tint is None or (part.material.path, tint) in looks:
                continue
            if not looks:
                define(self.layer, folder, "Scope")
            path = looks[part.material.path, tint] = f"{folder}/look_{len(looks)}"
            problem = author_tinted(self._stage, self.layer, path, part.material, tint)
            if problem is not None:
                self._note(f"{part.material.path}: {problem}")
        return looks

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _camera(self, camera: CameraView, serial: int) -> str:
        from pxr import Gf, Sdf

        kinds = Sdf.ValueTypeNames
        path = camera_path(camera.name)
        spec = define(self.layer, path, "Camera")
        put_transform(spec, self.camera_matrix(camera))
        # USD counts these in tenths of a scene unit; for a pinhole only their ratio matters, and
        # Replicator returns them as they are written.
        vertical = camera.horizontal_aperture_mm * camera.height / camera.width
        put(spec, "focalLength", kinds.Float, camera.focal_length_mm)
        put(spec, "horizontalAperture", kinds.Float, camera.horizontal_aperture_mm)
        put(spec, "verticalAperture", kinds.Float, vertical)
        put(spec, "horizontalApertureOffset", kinds.Float, camera.horizontal_aperture_offset_mm)
        put(spec, "verticalApertureOffset", kinds.Float, camera.vertical_aperture_offset_mm)
        # Replicator's own cameras begin at a whole unit: a metre.
        units = Gf.Vec2f(camera.near_m / self.metres_per_unit, camera.far_m / self.metres_per_unit)
        put(spec, "clippingRange", kinds.Float2, units)
        put(spec, "fStop", kinds.Float, camera.f_stop or 0.0)
        put(spec, "focusDistance", kinds.Float, self.focus_distance(camera, serial))
        put(spec, "exposure", kinds.Float, camera.exposure_ev or 0.0)
        return path

    def focus_distance(self, camera: CameraView, serial: int) -> float:
        """What ``camera_params`` must say for a capture, stage units, as float32."""
        metres = camera.focus_distance_m or PINHOLE_FOCUS_M
        marked = metres / self.metres_per_unit * (1.0 + FOCUS_STEP * (serial % FOCUS_STEPS))
        return float(np.float32(marked))

    def _rect_light(self, light: RectLight) -> str:
        from pxr import Sdf

        kinds = Sdf.ValueTypeNames
        path = f"{ROOT}/Lights/{_identifier(light.name)}"
        spec = define(self.layer, path, "RectLight")
        pose = pose_matrix(light.position_m, light.orientation_wxyz)
        put_transform(spec, rigid(self.world2stage @ pose))
        put(spec, "inputs:width", kinds.Float, light.width_m / self.metres_per_unit)
        put(spec, "inputs:height", kinds.Float, light.height_m / self.metres_per_unit)
        _put_emission(spec, light.radiance_rgb, normalized=False)
        return path

    def _shape_light(self, light: ShapeLight) -> str:
        from pxr import Sdf

        path = f"{ROOT}/Lights/{_identifier(light.name)}"
        kinds = Sdf.ValueTypeNames
        if isinstance(light, DistantLight):
            spec = define(self.layer, path, "DistantLight")
            pose = np.eye(4)
            pose[:3, :3] = _facing(light.direction)
            # no angle and normalized: the intensity is the irradiance, the shadows are sharp
            put(spec, "inputs:angle", kinds.Float, 0.0)
            _put_emission(spec, light.irradiance_rgb, normalized=True)
        else:
            spec = define(self.layer, path, type(light).__name__)
            turned = (
                light.orientation_wxyz if isinstance(light, DiskLight) else (1.0, 0.0, 0.0, 0.0)
            )
            pose = pose_matrix(light.position_m, turned)
            put(spec, "inputs:radius", kinds.Float, light.radius_m / self.metres_per_unit)
            _put_emission(spec, light.radiance_rgb, normalized=False)
        put_transform(spec, rigid(self.world2stage @ pose))
        return path

    def _dome(self, dome: DomeLight) -> str:
        from pxr import Sdf

        kinds = Sdf.ValueTypeNames
        path = f"{ROOT}/Lights/simcloud_dome"
        spec = define(self.layer, path, "DomeLight")
        angle = np.radians(dome.rotation_deg)
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        put_transform(spec, rigid(self.world2stage @ turn @ POLE_TO_Z))
        put(spec, "inputs:intensity", kinds.Float, dome.intensity)
        put(spec, "inputs:texture:file", kinds.Asset, Sdf.AssetPath(str(self._image(dome))))
        put(spec, "inputs:texture:format", kinds.Token, "latlong")
        return path

    def _own_domes(self, *, hidden: bool) -> None:
        """A frame's dome replaces those of the stage."""
        for environment in self._scene.environments:
            spec = over(self.layer, environment.path)
            if hidden:
                spec.active = False
            elif spec.HasActive():
                spec.ClearActive()


def camera_path(name: str) -> str:
    """Prim of a frame's camera."""
    return f"{ROOT}/Cameras/{_identifier(name)}"


def _put_emission(spec: Any, emission: Vector3, *, normalized: bool) -> None:
    """Intensity and colour of a light."""
    from pxr import Gf, Sdf

    kinds = Sdf.ValueTypeNames
    brightest = max(*emission, 1e-12)
    put(spec, "inputs:intensity", kinds.Float, brightest)
    put(spec, "inputs:color", kinds.Color3f, Gf.Vec3f(*(value / brightest for value in emission)))
    put(spec, "inputs:normalize", kinds.Bool, normalized)


def _facing(direction: Vector3) -> Float64:
    """(3, 3) rotation that turns -Z, the way a light shines, to a direction."""
    back = -np.asarray(direction, dtype=np.float64)
    back = back / np.sqrt((back**2).sum())
    side = np.array([0.0, 1.0, 0.0]) if abs(back[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    across = np.cross(side, back)
    across = across / np.sqrt((across**2).sum())
    return np.stack([across, np.cross(back, across), back], axis=1)


def _identifier(name: str) -> str:
    from pxr import Tf

    return str(Tf.MakeValidIdentifier(name))
