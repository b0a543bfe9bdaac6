"""A frame's materials: which one each part has, and what of it differs in the frame."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import reduce
from pathlib import Path

from simcloud.errors import InvalidRequest
from simcloud.scene.limits import SceneLimits
from simcloud.scene.pictures import checked_header
from simcloud.scene.translate.types import Material, NeutralScene, SceneMesh, Texture
from simcloud.spec.parameters import Finish, FrameParameters, MaterialBinding, Vector3


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One mesh with the material that it has in this frame."""

    mesh: SceneMesh
    material: Material
    """One of the scene's, or one made of it for this frame (:attr:`Material.base`)."""
    tint_rgb: Vector3 | None


class Pictures:
    """Pictures that frames name, looked at when first used."""

    def __init__(self, scene: NeutralScene) -> None:
        self._folder = Path(scene.root).parent
        self._limits = SceneLimits()
        self._known: set[str] = set()

    def path(self, relative: str) -> str:
        """Absolute path of a picture that can be drawn.

        Raises:
            InvalidRequest: it is not there, or can't be drawn.
        """
        path = str((self._folder / relative).resolve())
        if path not in self._known:
            if not Path(path).is_file():
                raise InvalidRequest("texture", f"{relative} is not there, seen from the stage")
            checked_header(path, f"the picture {relative}", self._limits)
            self._known.add(path)
        return path


def finished(material: Material, finish: Finish, pictures: Pictures) -> Material:
    """A material with what of it differs; the result knows what it was made of.

    Raises:
        InvalidRequest: a number that is none, or a picture that can't be drawn.
    """
    base = material.base or material
    said = {one.name: getattr(finish, one.name) for one in fields(finish)}
    words = [f"{name}={value!r}" for name, value in said.items() if value is not None]
    if not words:
        return material
    changed = replace(material, path=f"{material.path}|{'|'.join(words)}", base=base)
    for name in ("roughness", "metallic"):
        value = said[name]
        if value is None:
            continue
        if not 0 <= value <= 1:
            raise InvalidRequest(f"finish.{name}", f"must be in [0, 1], found {value}")
        changed = (
            replace(changed, roughness=value, roughness_texture=None)
            if name == "roughness"
            else replace(changed, metallic=value, metallic_texture=None)
        )
    if finish.color_rgb is not None:
        changed = replace(changed, base_color=finish.color_rgb, base_color_texture=None)
    if finish.texture is not None:
        own = base.base_color_texture
        texture = Texture(
            path=pictures.path(finish.texture), srgb=True, wrap=own.wrap if own else "repeat"
        )
        changed = replace(changed, base_color_texture=texture)
    return changed


class FrameMaterials:
    """Who has which material: the nearest bound prim above a mesh counts.

    Args:
        scene: what there is.
        parameters: of the frame.
        pictures: of the scene.

    Raises:
        InvalidRequest: a material that the scene does not have.
    """

    def __init__(
        self, scene: NeutralScene, parameters: FrameParameters, pictures: Pictures
    ) -> None:
        self._materials = scene.materials
        self._pictures = pictures
        self._by_prim: dict[str, MaterialBinding] = {}
        self._unused: dict[str, int] = {}
        self._changes: dict[str, list[tuple[Vector3 | None, Finish | None]]] = {}
        self._made: dict[tuple[str, Finish], Material] = {}
        for index, binding in enumerate(parameters.bindings):
            if binding.material is not None:
                self._check(f"bindings[{index}].material", binding.material)
            self._by_prim[binding.prim] = binding
            self._unused[binding.prim] = index
        for index, change in enumerate(parameters.materials):
            self._check(f"materials[{index}].material", change.material)
            changes = self._changes.setdefault(change.material, [])
            changes.append((change.tint_rgb, change.finish))

    def _check(self, field: str, material: str) -> None:
        if material not in self._materials:
            raise InvalidRequest(field, f"the scene has no material {material}")

    def part(self, mesh: SceneMesh, path: str, tint_rgb: Vector3 | None) -> Part:
        """A mesh that stands at ``path`` in this frame, with its material.

        Args:
            mesh: the mesh.
            path: where it stands.
            tint_rgb: the object's own tint, on top of the material's and the binding's.
        """
        bound = self._binding(path)
        key = mesh.material if bound is None else bound.material or mesh.material
        # a mesh that shines has its material under a name of its own
        changes = self._changes.get(key.partition("|")[0], []) if self._changes else []
        if bound is not None:
            changes = [*changes, (bound.tint_rgb, bound.finish)]
        material, tint = self._materials[key], tint_rgb
        if changes:
            tints = [*(one for one, _ in changes), tint_rgb]
            tint = reduce(_product, tints, None)
            for _, finish in changes:
                material = material if finish is None else self._finished(material, finish)
        return Part(mesh=mesh, material=material, tint_rgb=tint)

    def _binding(self, path: str) -> MaterialBinding | None:
        where = path
        while where and self._by_prim:
            bound = self._by_prim.get(where)
            if bound is not None:
                self._unused.pop(where, None)
                return bound
            where = where.rpartition("/")[0]
        return None

    def _finished(self, material: Material, finish: Finish) -> Material:
        key = (material.path, finish)
        if key not in self._made:
            self._made[key] = finished(material, finish, self._pictures)
        return self._made[key]

    def check_all_used(self) -> None:
        """Raises InvalidRequest for a binding whose prim has no geometry in this frame."""
        for prim, index in self._unused.items():
            raise InvalidRequest(
                f"bindings[{index}].prim", f"{prim} has no geometry to bind a material to"
            )


def _product(one: Vector3 | None, other: Vector3 | None) -> Vector3 | None:
    if one is None or other is None:
        return one or other
    return one[0] * other[0], one[1] * other[1], one[2] * other[2]
