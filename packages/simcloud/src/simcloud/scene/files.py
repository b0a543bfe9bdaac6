"""Files of a scene by the paths that USD resolves to, those inside ``.usdz`` packages included.

USD writes a file inside a package as ``/folder/scene.usdz[textures/wood.png]``, packages inside
packages as ``a.usdz[b.usdz[c.png]]`` (ArSplitPackageRelativePathOuter).
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simcloud.errors import InvalidRequest

MAX_PACKED_BYTES = 2 * 1024**3
"""Largest file read out of a package."""


def outer_path(path: str) -> Path:
    """The file on disk: the package itself for what lies inside one."""
    return Path(path.partition("[")[0]) if path.endswith("]") else Path(path)


def file_size(path: str) -> int:
    """Size in bytes of a file, inside a package or not.

    Raises:
        InvalidRequest: it cannot be read.
    """
    if not path.endswith("]"):
        return Path(path).stat().st_size
    return len(read_file(path))


def read_file(path: str) -> bytes:
    """A file's bytes.

    Raises:
        InvalidRequest: it is not there, or its package is broken.
    """
    try:
        if not path.endswith("]"):
            return Path(path).read_bytes()
        outer, _, inner = path.removesuffix("]").partition("[")
        data = Path(outer).read_bytes()
        while inner:
            name, nested, rest = inner.partition("[")
            data = _member(data, name)
            inner = rest.removesuffix("]") if nested else ""
        return data
    except (OSError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InvalidRequest("scene", f"{path} cannot be read: {error}") from error


@contextmanager
def on_disk(path: str) -> Iterator[Path]:
    """A file for libraries that open paths only: itself, or a copy from its package.

    Raises:
        InvalidRequest: it cannot be read.
    """
    if not path.endswith("]"):
        yield Path(path)
        return
    suffix = Path(path.removesuffix("]")).suffix
    with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
        copy.write(read_file(path))
        copy.flush()
        yield Path(copy.name)


def _member(package: bytes, name: str) -> bytes:
    """A member of a package; usdz stores without compression, anything else may be a bomb."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > MAX_PACKED_BYTES:
            raise zipfile.BadZipFile(f"{name} is compressed, or larger than {MAX_PACKED_BYTES}")
        return archive.read(info)
