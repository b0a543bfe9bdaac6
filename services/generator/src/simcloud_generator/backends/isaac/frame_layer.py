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
from simcloud.geometry import Float64, affine_inverse
from simcloud.scene.stage import LIBRARY_ROOT, OBJECTS_ROOT, gf_matrix, normalization
from simcloud.scene.translate.types import NeutralScene
from simcloud.spec.parameters import (
    FrameParameters,
    Vector3,
)
from simcloud_generator.backends.frame_materials import Part
from simcloud_generator.backends.frame_scene import FrameScene, Group
from simcloud_generator.backends.isaac.authoring import (
    bind,
    define,
    over,
    put_transform,
    remove,
    unbind,
)
from simcloud_generator.backends.isaac.looks import author_look, differs
from simcloud_generator.backends.isaac.rig import ROOT, FrameRig
from simcloud_generator.backends.isaac.stage_labels import author_labels


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
        self._world2stage = affine_inverse(self._stage2world)
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
        self.rig = FrameRig(self.layer, self._world2stage, Path(scene.root).parent)
        """The frame's cameras and lights."""
        self._open()

    def _open(self) -> None:
        own = self._stage.GetPrimAtPath(OBJECTS_ROOT)
        leftovers = [str(child.GetPath()) for child in own.GetChildren()] if own else []
        self.problems += author_labels(self._stage, self._setup, self._scene)
        for path in leftovers:  # no other backend shows them: this place is the frame's
            over(self._setup, path).active = False
        define(self.layer, OBJECTS_ROOT, "Xform")
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
        self._look_for_light(parameters)
        with Sdf.ChangeBlock():
            self._apply_objects(frame)
            self._apply_bindings(frame)
            others = self.rig.apply(parameters, serial)
            self._own_domes(hidden=parameters.dome is not None)
            for path in self._others - others:
                remove(self.layer, path)
        self._others = others

    def _look_for_light(self, parameters: FrameParameters) -> None:
        """Without a window Isaac Sim has no light of its own."""
        scene = self._scene
        own = (*scene.mesh_lights, *scene.distant_lights, *scene.environments)
        if not (own or parameters.rect_lights or parameters.lights or parameters.dome):
            self._note("/: neither the stage nor the frame has a light, so pictures are black")

    def _check(self, parameters: FrameParameters) -> None:
        from pxr import Sdf

        for index, placed in enumerate(parameters.objects):
            if not Sdf.Path.IsValidIdentifier(placed.name):
                raise InvalidRequest(
                    f"objects[{index}].name", f"{placed.name!r} is no name of a USD prim"
                )
        if parameters.dome is not None and not self.rig.image(parameters.dome).is_file():
            raise InvalidRequest(
                "dome.texture",
                f"{parameters.dome.texture} is not there, seen from {self._scene.root}",
            )

    def object_matrix(self, group: Group) -> Float64 | None:
        """(4, 4) from the prim of a placed object to the stage's frame; None for other groups."""
        if not group.asset or group.local2world is None:
            return None
        pose = self._world2stage @ group.local2world @ self._stage2world
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
            if not differs(part):
                if part.material.path != part.mesh.material:
                    self._bind(path, part.mesh.path, part.material.path)
                continue
            if part.material.path not in looks:
                folder = f"{group.prim}/SimcloudLooks"
                define(self.layer, folder, "Scope")
                look = f"{folder}/look_{len(looks)}"
                looks[part.material.path] = look
                self._author(look, part)
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
        looks = self._own_looks(parts)
        for part in parts:
            if differs(part):
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

    def _own_looks(self, parts: list[Part]) -> dict[tuple[str, Vector3 | None], str]:
        """Copies of the materials of the stage's own geometry that differ in this frame."""
        folder = f"{ROOT}/Looks"
        remove(self.layer, folder)
        looks: dict[tuple[str, Vector3 | None], str] = {}
        for part in parts:
            key = (part.material.path, part.tint_rgb)
            if not differs(part) or key in looks:
                continue
            if not looks:
                define(self.layer, folder, "Scope")
            path = looks[key] = f"{folder}/look_{len(looks)}"
            self._author(path, part)
        return looks

    def _author(self, path: str, part: Part) -> None:
        """Writes the look of a part that differs from its material."""
        for problem in author_look(self._stage, self.layer, path, part.material, part.tint_rgb):
            self._note(f"{(part.material.base or part.material).path}: {problem}")

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _own_domes(self, *, hidden: bool) -> None:
        """A frame's dome replaces those of the stage."""
        for environment in self._scene.environments:
            spec = over(self.layer, environment.path)
            if hidden:
                spec.active = False
            elif spec.HasActive():
                spec.ClearActive()
