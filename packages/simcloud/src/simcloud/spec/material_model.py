"""Materials of a spec: which are bound where, and what of them differs from frame to frame."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from simcloud.spec.base import Name, SpecModel, is_unset
from simcloud.spec.distributions import Real, Text, between
from simcloud.spec.kinds import Kind

_PATTERN = re.compile(r"(/[\w*]+)+")
_Factor = Annotated[Real, between(0, 1e6)]
_Share = Annotated[Real, between(0, 1)]


def _checked_pattern(path: str) -> str:
    if not _PATTERN.fullmatch(path):
        raise ValueError(
            f"{path!r} is no path of a material, such as /World/Looks/oak or /Library/*/Looks/*"
        )
    return path


Pattern = Annotated[str, AfterValidator(_checked_pattern)]
"""Path of a material; ``*`` stands for any part of one name."""


class MaterialChoice(SpecModel):
    """A material for some prims of the stage, or changes of materials wherever they are."""

    name: Name
    """Name of the value."""
    prims: tuple[str, ...] = ()
    """Absolute paths of geometry prims of the stage that share the material. Either these or
    `of`."""
    of: tuple[Pattern, ...] | None = Field(default=None, min_length=1, exclude_if=is_unset)
    """Materials that are changed wherever they are, on the stage and on library assets: absolute
    paths, in which `*` stands for any part of one name, as in `/Library/*/Looks/*`."""
    each: bool = Field(default=False, exclude_if=is_unset)
    """Whether each material of `of` draws for itself; unset: they share one draw. In the index its
    path is part of the name: `material.<name>.<path>.roughness`."""
    material: Text | None = None
    """For `prims`: absolute path of a material prim, for example ``/World/Looks/oak``; unset: the
    material that each has."""
    tint: tuple[_Factor, _Factor, _Factor] | None = None
    """Linear factor on its base colour, red, green, blue; unset leaves it alone."""
    color: tuple[_Share, _Share, _Share] | None = Field(default=None, exclude_if=is_unset)
    """Linear base colour instead of the material's own and of its texture."""
    roughness: _Share | None = Field(default=None, exclude_if=is_unset)
    """Instead of the material's own, or of its texture: 0 mirrors, 1 is dull."""
    metallic: _Share | None = Field(default=None, exclude_if=is_unset)
    """Instead of the material's own, or of its texture."""
    texture: Text | None = Field(default=None, exclude_if=is_unset)
    """Picture of the base colour instead of the material's own: a PNG, JPEG, BMP, TIFF or WebP. A
    path relative to the spec, or `s3://bucket/key`; one that ends in `/` is a folder, any picture
    of which may be drawn. The pictures become part of the scene and of its digest when a run is
    created; the path is then relative to the root layer. It lies as the mesh's texture coordinates
    and the material's own transform of them say; a mesh without any keeps its own look."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> MaterialChoice:
        if bool(self.prims) == bool(self.of):
            raise ValueError("give prims or of, one of them and not empty")
        if self.of and self.material is not None:
            raise ValueError("material is bound to prims; of changes the materials that are there")
        if self.each and not self.of:
            raise ValueError("each is for of: prims share one material")
        if self.color is not None and self.texture is not None:
            raise ValueError("color and texture take each other's place: give one; tint dyes both")
        if self.material is None and self.tint is None and not any(self.finish()):
            raise ValueError(
                "nothing differs: give material, tint, color, roughness, metallic or texture"
            )
        return self

    def finish(self) -> tuple[object, ...]:
        """What it says of surfaces beside their tint."""
        return self.color, self.roughness, self.metallic, self.texture

    def named(self) -> dict[str, Kind]:
        """Distributions by the names that they are drawn under, of those that have one name."""
        prefix = f"material.{self.name}"
        found: dict[str, Kind] = {} if self.material is None else {prefix: self.material}
        if self.each:
            return found
        for field, parts in (("tint", self.tint), ("color", self.color)):
            named = zip("xyz", parts or (), strict=False)
            found |= {f"{prefix}.{field}.{axis}": one for axis, one in named}
        for field, one in (
            ("roughness", self.roughness),
            ("metallic", self.metallic),
            ("texture", self.texture),
        ):
            found |= {} if one is None else {f"{prefix}.{field}": one}
        return found


def materials_of(patterns: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Materials that any of some patterns mean, ordered."""
    forms = [re.escape(pattern).replace(r"\*", "[^/]*") for pattern in patterns]
    wanted = re.compile("|".join(forms))
    return sorted(path for path in paths if wanted.fullmatch(path))
