"""A frame's parameters resolved against the neutral scene: what stands where, made of what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simcloud.annotators import FIRST_CLASS_ID, UNLABELLED_ID
from simcloud.errors import InvalidRequest
from simcloud.geometry import (
    Float64,
    affine_inverse,
    as_matrix4,
    matrix4,
    pose_matrix,
    transform_points,
)
from simcloud.scene.stage import OBJECTS_ROOT
from simcloud.scene.translate.types import (
    DistantLight,
    LabelledPrim,
    MeshLight,
    NeutralScene,
    SceneMesh,
)
from simcloud.spec.parameters import (
    FrameParameters,
    Matrix4,
    PlacedObject,
    StepMotion,
    Vector3,
)
from simcloud_generator.backends.frame_lights import frame_distant_lights, frame_mesh_lights
from simcloud_generator.backends.frame_materials import FrameMaterials, Part, Pictures

FIRST_INSTANCE_ID = 2
"""Instance ids 0 and 1 are background and unlabelled."""

MAX_ID = 65_535


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Geometry that moves as one and carries one label."""

    key: str
    """Equal keys mean equal geometry: what caches of acceleration structures go by."""
    parts: tuple[Part, ...]
    local2world: Float64 | None
    """(4, 4) similarity from the meshes' frame to world; None when they are in the world frame."""
    instance_id: int
    """1 for what has no label."""
    semantic_id: int
    name: str
    prim: str
    asset: str
    label: str
    frame: Matrix4
    """The object's own frame to world."""
    box3d: tuple[Vector3, Vector3]
    """Corners of the box in the object's own frame."""
    step: StepMotion | None = None
    """How it moved to where it is, in the axes of ``local2world``; None: it stood still."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameScene:
    """All groups of a frame: unlabelled static geometry, labelled static prims, placed objects."""

    groups: tuple[Group, ...]
    mesh_lights: tuple[MeshLight, ...] = ()
    """Lights that the frame adds to the stage's, rectangles apart."""
    distant_lights: tuple[DistantLight, ...] = ()
    """Parallel lights that the frame adds to the stage's."""


def semantic_ids(classes: tuple[str, ...]) -> dict[str, int]:
    """Id of each class, counted from 2 in alphabetic order."""
    return {label: FIRST_CLASS_ID + index for index, label in enumerate(sorted(classes))}


class FrameResolver:
    """Resolves frames against one scene; what does not change between frames is prepared once."""

    def __init__(self, scene: NeutralScene) -> None:
        self.scene = scene
        self.ids = semantic_ids(scene.classes)
        self._pictures = Pictures(scene)
        self._static = [
            (None, [mesh for mesh in scene.static if mesh.owner is None]),
            *(
                (prim, [mesh for mesh in scene.static if mesh.owner == prim.path])
                for prim in scene.labelled
            ),
        ]
        self._boxes = {prim.path: _own_box(prim, meshes) for prim, meshes in self._static if prim}

    def resolve(self, parameters: FrameParameters) -> FrameScene:
        """The frame's geometry.

        Raises:
            InvalidRequest: an asset, material or prim that the scene does not have, a name used
                twice, or a pose that is none.
        """
        first = FIRST_INSTANCE_ID + len(self.scene.labelled)
        if first + len(parameters.objects) - 1 > MAX_ID:
            raise InvalidRequest(
                "objects", f"{len(parameters.objects)} objects; ids end at {MAX_ID}"
            )
        bindings = FrameMaterials(self.scene, parameters, self._pictures)
        groups = [self._static_group(index, bindings) for index in range(len(self._static))]
        names: set[str] = set()
        for index, placed in enumerate(parameters.objects):
            if placed.name in names:
                raise InvalidRequest(f"objects[{index}].name", f"{placed.name} is there twice")
            names.add(placed.name)
            if placed.fall is not None:
                raise InvalidRequest(f"objects[{index}]", f"{placed.name} hangs: settle it first")
            groups.append(self._placed_group(index, placed, first + index, bindings))
        bindings.check_all_used()
        return FrameScene(
            groups=tuple(group for group in groups if group.parts),
            mesh_lights=frame_mesh_lights(parameters),
            distant_lights=frame_distant_lights(parameters),
        )

    def _static_group(self, index: int, bindings: FrameMaterials) -> Group:
        prim, meshes = self._static[index]
        parts = tuple(bindings.part(mesh, mesh.path, None) for mesh in meshes)
        identity = as_matrix4(np.eye(4))
        zero = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
        return Group(
            key=f"static:{prim.path if prim else ''}",
            parts=parts,
            local2world=None,
            instance_id=FIRST_INSTANCE_ID + index - 1 if prim else UNLABELLED_ID,
            semantic_id=self.ids[prim.label] if prim else UNLABELLED_ID,
            name=prim.path if prim else "",
            prim=prim.path if prim else "",
            asset="",
            label=prim.label if prim else "",
            frame=prim.local2world if prim else identity,
            box3d=self._boxes[prim.path] if prim else zero,
        )

    def _placed_group(
        self, index: int, placed: PlacedObject, instance_id: int, bindings: FrameMaterials
    ) -> Group:
        asset = self.scene.assets.get(placed.asset)
        if asset is None:
            known = ", ".join(sorted(self.scene.assets)) or "none"
            raise InvalidRequest(
                f"objects[{index}].asset",
                f"{placed.name}: the scene has no {placed.asset}; it has {known}",
            )
        values = (*placed.position_m, *placed.orientation_wxyz, placed.scale)
        if not np.isfinite(values).all() or placed.scale <= 0:
            raise InvalidRequest(f"objects[{index}]", f"{placed.name} has no proper pose: {values}")
        try:
            pose = pose_matrix(placed.position_m, placed.orientation_wxyz, placed.scale)
        except ValueError as error:
            raise InvalidRequest(f"objects[{index}].orientation_wxyz", str(error)) from error
        frame = as_matrix4(pose)
        prim = f"{OBJECTS_ROOT}/{placed.name}"
        library = f"/Library/{placed.asset}"
        parts = tuple(
            bindings.part(mesh, prim + mesh.path.removeprefix(library), placed.tint_rgb)
            for mesh in asset.meshes
        )
        label = asset.label if placed.labelled else None
        return Group(
            key=f"asset:{placed.asset}",
            parts=parts,
            local2world=matrix4(frame),
            instance_id=UNLABELLED_ID if label is None else instance_id,
            semantic_id=UNLABELLED_ID if label is None else self.ids[label],
            name=placed.name,
            prim=prim,
            asset=placed.asset,
            label=label or "",
            frame=frame,
            box3d=(asset.minimum, asset.maximum),
            step=placed.step,
        )


def _own_box(prim: LabelledPrim, meshes: list[SceneMesh]) -> tuple[Vector3, Vector3]:
    """Box of world-frame meshes in the frame of the prim that owns them."""
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    local = transform_points(affine_inverse(matrix4(prim.local2world)), vertices)
    low = local.min(axis=0).astype(np.float32)
    high = local.max(axis=0).astype(np.float32)
    return (
        (float(low[0]), float(low[1]), float(low[2])),
        (float(high[0]), float(high[1]), float(high[2])),
    )
