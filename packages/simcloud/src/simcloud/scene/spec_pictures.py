"""Pictures that the materials of a spec name: put into the scene, and named as they lie there."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from simcloud.errors import InvalidRequest
from simcloud.scene.bundle import MAX_FILES, Bundle, BundleFile, bundle_file
from simcloud.scene.pictures import PICTURE_SUFFIXES
from simcloud.spec.distributions import (
    Choice,
    Conditional,
    Constant,
    Distribution,
    Stratified,
)
from simcloud.spec.distributions import Sequence as ValueSequence
from simcloud.spec.model import Spec
from simcloud.spec.references import resolved

FOLDER = "textures"
"""Beside the root layer; pictures from elsewhere lie there, by content."""
_DIGITS = 12
"""Of a picture's SHA-256 in its name."""

Find = Callable[[str], Sequence[Path]]
"""Files of what a spec names: of one picture, or of a folder's, in order."""


def pictures_of(folder: Path) -> list[Path]:
    """Pictures of a folder, by name; what lies in folders below does not count."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)


def find_pictures(name: str, base: Path) -> list[Path]:
    """Files of a path on this machine: a picture, or a folder of them.

    Args:
        name: the path, relative ones to ``base``.
        base: folder of the spec.

    Raises:
        InvalidRequest: nothing is there, or no picture.
    """
    path = base / Path(name).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidRequest("texture", f"{path} is not there; name a picture or a folder of them")
    found = pictures_of(path)
    if not found:
        kinds = ", ".join(PICTURE_SUFFIXES)
        raise InvalidRequest("texture", f"the folder {path} holds no picture ({kinds})")
    return found


def with_pictures(spec: Spec, bundle: Bundle, find: Find) -> tuple[Spec, Bundle]:
    """The spec with its pictures named as they lie in the scene, and the scene with them.

    A folder becomes a choice of its pictures, which share its weight; in a sequence they come one
    after the other.

    Args:
        spec: as written.
        bundle: its scene.
        find: files of a name.

    Raises:
        InvalidRequest: a picture is not there, too many of them, or one that is named through
            another value and lies outside the scene.
    """
    wanted = {
        index: choice.texture
        for index, choice in enumerate(spec.randomization.materials)
        if choice.texture is not None
    }
    if not wanted:
        return spec, bundle
    gathered = _Gathered(bundle, find)
    dump = spec.model_dump(mode="json")
    for index, texture in wanted.items():
        gathered.field = f"randomization.materials[{index}].texture"
        renamed = gathered.renamed(texture).model_dump(mode="json")
        dump["randomization"]["materials"][index]["texture"] = renamed
    changed = Spec.model_validate(dump)
    materials = resolved(changed).randomization.materials
    for index in wanted:
        gathered.field = f"randomization.materials[{index}].texture"
        referred = materials[index].texture
        gathered.check_referred(referred.support() if referred is not None else ())
    return changed, gathered.bundle()


class _Gathered:
    """Pictures found so far."""

    def __init__(self, bundle: Bundle, find: Find) -> None:
        self.field = ""
        """Of the spec, for messages."""
        self._bundle = bundle
        self._find = find
        self._folder = posixpath.dirname(bundle.stage)
        self._names: dict[str, tuple[str, ...]] = {}
        self._files = {file.path: file for file in bundle.files}
        self._elsewhere = dict(bundle.elsewhere)

    def bundle(self) -> Bundle:
        """The scene with them."""
        if len(self._files) > MAX_FILES:
            raise InvalidRequest(
                self.field,
                f"with its pictures the scene has {len(self._files)} files, at most {MAX_FILES} "
                "are taken: name fewer, or smaller folders",
            )
        files = tuple(sorted(self._files.values(), key=lambda file: file.path))
        return replace(self._bundle, files=files, elsewhere=self._elsewhere)

    def renamed(self, one: Distribution) -> Distribution:
        """A distribution of names with each as it lies in the scene; references stay."""
        match one:
            case Constant():
                names = self._in_scene(str(one.value))
                return Constant(value=names[0]) if len(names) == 1 else Choice(values=names)
            case Choice():
                return self._choice(one)
            case ValueSequence():
                values = tuple(name for item in one.values for name in self._in_scene(str(item)))
                return one.model_copy(update={"values": values})
            case Stratified(of=Choice() as inner):
                return Stratified(of=self._choice(inner))
            case Conditional():
                return one.model_copy(
                    update={
                        "cases": {key: self.renamed(item) for key, item in one.cases.items()},
                        "below": {key: self.renamed(item) for key, item in one.below.items()},
                        "default": None if one.default is None else self.renamed(one.default),
                    }
                )
            case _:
                return one

    def check_referred(self, names: Sequence[object]) -> None:
        """Names that came by reference: they must be those of the scene already."""
        ours = {name for found in self._names.values() for name in found}
        for name in {str(name) for name in names} - ours:
            if self._in_scene(name) != (name,):
                raise InvalidRequest(
                    self.field,
                    f"{name} comes from another value and is no picture beside the stage: name "
                    "pictures, not folders, by their path from the root layer there, or write "
                    "them here",
                )

    def _choice(self, one: Choice) -> Choice:
        found = [self._in_scene(str(value)) for value in one.values]
        values = tuple(name for names in found for name in names)
        weights = one.weights
        if weights is None and any(len(names) > 1 for names in found):
            weights = (1.0,) * len(found)
        if weights is not None:
            shares = zip(weights, found, strict=True)
            weights = tuple(weight / len(names) for weight, names in shares for _ in names)
        return Choice(values=values, weights=weights)

    def _in_scene(self, name: str) -> tuple[str, ...]:
        if name not in self._names:
            try:
                paths = self._find(name)
            except InvalidRequest as error:
                raise InvalidRequest(self.field, error.problem) from error
            self._names[name] = tuple(self._added(path) for path in paths)
        return self._names[name]

    def _added(self, path: Path) -> str:
        """Takes a file in; its name relative to the root layer."""
        where = path.resolve()
        if where.is_relative_to(self._bundle.root.resolve()):
            inside = where.relative_to(self._bundle.root.resolve()).as_posix()
            self._files[inside] = bundle_file(where, inside)
        else:
            found = bundle_file(where, "")
            inside = posixpath.join(self._folder, FOLDER, f"{found.sha256[:_DIGITS]}_{path.name}")
            self._files[inside] = BundleFile(inside, found.sha256, found.size_bytes)
            self._elsewhere[inside] = where
        return posixpath.relpath(inside, self._folder or ".")
