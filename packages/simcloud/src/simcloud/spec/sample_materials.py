"""Materials of a frame: draws under ``material.<name>`` and ``material.<name>.<field>``.

Where each of several materials draws for itself, its path stands between, in the index too: so that
one more or less of them changes nothing that the others drew.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Protocol

from simcloud.errors import InvalidRequest
from simcloud.spec.distributions import Real
from simcloud.spec.draws import Draws
from simcloud.spec.material_model import MaterialChoice, materials_of
from simcloud.spec.parameters import Finish, MaterialBinding, MaterialChange, Vector3


class SceneMaterials(Protocol):
    """What the sampler must know of a scene's materials."""

    @property
    def material_paths(self) -> frozenset[str]:
        """Paths of materials."""
        ...


def sample_bindings(choices: Sequence[MaterialChoice], draws: Draws) -> list[MaterialBinding]:
    """Materials bound to prims of the stage, and what differs in them there."""
    found = []
    for choice in choices:
        name = f"material.{choice.name}"
        material = None if choice.material is None else draws.text(name, choice.material)
        if choice.prims:
            tint, finish = _drawn(choice, name, draws)
            found += [MaterialBinding(prim, material, tint, finish) for prim in choice.prims]
    return found


def sample_material_changes(
    choices: Sequence[MaterialChoice], scene: SceneMaterials, draws: Draws
) -> list[MaterialChange]:
    """Materials that differ wherever they are.

    Raises:
        InvalidRequest: the scene has none of those that are meant.
    """
    found = []
    for choice in choices:
        if choice.of is None:
            continue
        paths = materials_of(choice.of, scene.material_paths)
        if not paths:
            raise InvalidRequest(
                f"randomization.materials[{choice.name}].of",
                f"the scene has no material {' or '.join(choice.of)}",
            )
        name = f"material.{choice.name}"
        if choice.each:
            for path in paths:
                drawn = _drawn(choice, f"{name}.{path}", draws)
                found.append(MaterialChange(path, *drawn))
        else:
            drawn = _drawn(choice, name, draws)
            found += [MaterialChange(path, *drawn) for path in paths]
    return found


def _drawn(choice: MaterialChoice, name: str, draws: Draws) -> tuple[Vector3 | None, Finish | None]:
    def real(field: str, distribution: Real | None) -> float | None:
        if distribution is None:
            return None
        return draws.real(f"{name}.{field}", distribution)

    def rgb(field: str, parts: tuple[Real, Real, Real] | None) -> Vector3 | None:
        if parts is None:
            return None
        red, green, blue = (
            draws.real(f"{name}.{field}.{axis}", part)
            for axis, part in zip("xyz", parts, strict=True)
        )
        return red, green, blue

    tint = rgb("tint", choice.tint)
    if not any(choice.finish()):
        return tint, None
    texture = choice.texture
    return tint, Finish(
        color_rgb=rgb("color", choice.color),
        roughness=real("roughness", choice.roughness),
        metallic=real("metallic", choice.metallic),
        texture=None if texture is None else draws.text(f"{name}.texture", texture),
    )


def check_inside(texture: str, root: str, field: str) -> None:
    """Raises InvalidRequest for a texture that is no path within the scene.

    Args:
        texture: path relative to the root layer.
        root: path of the root layer relative to the scene's folder.
        field: of the spec, for the message.
    """
    where = posixpath.normpath(posixpath.join(posixpath.dirname(root), texture))
    if where.startswith(("..", "/")) or "://" in texture or texture.endswith("/"):
        raise InvalidRequest(
            field,
            f"{texture} is no picture of the scene: `simcloud run` and `preview` put pictures "
            "that a spec names into the scene, and name them relative to its root layer",
        )
