"""A scene as the set of files that it consists of, named by what is in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simcloud.errors import InvalidRequest
from simcloud.scene.files import outer_path
from simcloud.scene.stage import of_renderers_library, url_advice, usd_words

MAX_FILES = 10_000
"""Most files of a scene."""


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of a scene."""

    path: str
    """Relative to the bundle's root, with forward slashes."""
    sha256: str
    """64 lower-case hex digits."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A stage and everything that it needs."""

    root: Path
    """Folder that the files lie below."""
    stage: str
    """Path of the root layer, relative to ``root``."""
    files: tuple[BundleFile, ...]
    """Ordered by path, the root layer among them."""
    elsewhere: Mapping[str, Path] = field(default_factory=dict)
    """Files that do not lie below ``root``, by their path in the bundle."""

    def local(self, file: BundleFile) -> Path:
        """Where a file lies on this machine."""
        return self.elsewhere.get(file.path, self.root / file.path)

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted lines ``path NUL sha256 newline``: 64 hex digits."""
        return bundle_digest((file.path, file.sha256) for file in self.files)


def bundle_digest(files: Iterable[tuple[str, str]]) -> str:
    """Digest of a scene from its files' paths and SHA-256 hex digests."""
    digest = hashlib.sha256()
    for path, sha256 in sorted(files):
        digest.update(f"{path}\0{sha256}\n".encode())
    return digest.hexdigest()


def make_bundle(stage: Path, root: Path | None = None) -> Bundle:
    """Collects a stage's layers, textures and other files; a package is one file.

    Modules of the renderer's own library, such as ``OmniPBR.mdl``, are no files of a scene.

    Args:
        stage: the root layer.
        root: folder that everything must lie below; None takes the stage's own folder and, where
            dependencies lie beside it, the nearest folder that holds them all.

    Raises:
        InvalidRequest: a dependency is missing, is a URL or an absolute path, or lies outside
            ``root``.
    """
    from pxr import Tf, UsdUtils

    if not stage.is_file():
        raise InvalidRequest("scene", f"{stage} is not a file; name the stage's root layer")
    quiet = UsdUtils.CoalescingDiagnosticDelegate()  # what is missing is told below
    try:
        layers, assets, named = UsdUtils.ComputeAllDependencies(str(stage))
    except Tf.ErrorException as error:
        raise InvalidRequest(
            "scene", f"{stage} cannot be read as a stage: {usd_words(error)}"
        ) from error
    finally:
        del quiet
    missing = [name for name in named if not of_renderers_library(str(name))]
    if missing or not layers:
        names = ", ".join(sorted(map(_missing, missing))) or str(stage)
        raise InvalidRequest("scene", f"{stage} needs files that are not there: {names}")
    _refuse_absolute(layers)
    # A symbolic link is resolved before it is compared with the root: it may lead anywhere.
    paths = {outer_path(str(layer.realPath)).resolve() for layer in layers}
    paths |= {outer_path(str(asset)).resolve() for asset in assets}
    folder = root.resolve() if root is not None else _common_folder(stage.resolve(), paths)
    outside = sorted(str(path) for path in paths if not path.is_relative_to(folder))
    if outside:
        raise InvalidRequest("scene", f"files outside {folder}: {', '.join(outside)}")
    files = [bundle_file(path, path.relative_to(folder).as_posix()) for path in paths]
    return Bundle(
        root=folder,
        stage=stage.resolve().relative_to(folder).as_posix(),
        files=tuple(sorted(files, key=lambda file: file.path)),
    )


def _missing(named: object) -> str:
    """A file that is not there; for a URL, with what to do. USD joins its slashes."""
    url = re.match(r"([A-Za-z][\w+.-]+):/+(.*)", str(named))
    return f"{url[1]}://{url[2]} ({url_advice(f'{url[1]}:')})" if url else str(named)


def _refuse_absolute(layers: list[Any]) -> None:
    """An absolute path means another file on every machine, or one that is nobody's business."""
    from pxr import UsdUtils

    for layer in layers:
        if str(layer.realPath).endswith((".usdz", "]")):
            continue
        for paths in UsdUtils.ExtractExternalReferences(str(layer.realPath)):
            absolute = sorted({str(path) for path in paths if Path(str(path)).is_absolute()})
            if absolute:
                raise InvalidRequest(
                    "scene",
                    f"{layer.realPath} names {', '.join(absolute)}: copy what it needs beside it "
                    "and write paths relative to the layer",
                )


def _common_folder(stage: Path, paths: set[Path]) -> Path:
    folder = stage.parent
    while not all(path.is_relative_to(folder) for path in paths):
        folder = folder.parent
    if folder != stage.parent and (Path.home().is_relative_to(folder) or not folder.name):
        far = sorted(str(path) for path in paths if not path.is_relative_to(stage.parent))
        raise InvalidRequest(
            "scene",
            f"{stage} needs {', '.join(far)}; the nearest folder that holds them all is {folder}: "
            "keep a scene in a folder of its own",
        )
    return folder


def bundle_file(path: Path, inside: str) -> BundleFile:
    """A file of this machine under its path in the bundle; it is read once."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return BundleFile(path=inside, sha256=digest.hexdigest(), size_bytes=size)
