"""Copies a scene that only Isaac Sim can reach into a folder: ``omniverse://`` and the like.

A run's scene is held by what is in its files, so that every frame can be made again; what lies on a
server may change under its name. So it is copied once, with the resolver of a started Isaac Sim,
and is a scene as any other from then on. Exit code 0: it is there; 1: it isn't, and why; 2: Isaac
Sim can't run here.
"""

from __future__ import annotations

import argparse
import posixpath
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from simcloud.errors import InvalidRequest, SimcloudError
from simcloud.gpu import list_gpus
from simcloud.scene.bundle import Bundle, make_bundle
from simcloud.scene.stage import usd_words
from simcloud_generator.backends.isaac.application import start
from simcloud_generator.backends.isaac.hardware import check_hardware, must_pass
from simcloud_generator.backends.isaac.settings import load_isaac_settings

OK, FAILED, CANNOT_RUN = 0, 1, 2


def main(argv: Sequence[str]) -> int:
    """Copies a scene; returns the exit code."""
    parser = argparse.ArgumentParser(prog="isaac-collect", description=__doc__)
    parser.add_argument("address", help="of the root layer: omniverse://server/folder/scene.usd")
    parser.add_argument("folder", type=Path, help="to copy into: a new one, or an empty one")
    found = parser.parse_args(list(argv))
    settings = load_isaac_settings("isaac-collect")
    failed = must_pass(check_hardware(settings, list_gpus()))
    if failed:
        _say("; ".join(check.detail for check in failed))
        return CANNOT_RUN
    try:
        application = start(settings, settings.gpus[0])
    except (SimcloudError, ImportError) as error:
        _say(str(error))
        return CANNOT_RUN
    code = FAILED
    try:
        bundle = collect(found.address, found.folder)
        size_bytes = sum(file.size_bytes for file in bundle.files)
        _say(f"{bundle.root / bundle.stage}: {len(bundle.files)} files, {size_bytes} bytes")
        code = OK
    except SimcloudError as error:
        _say(str(error))
    finally:
        application.close(code)  # ends the process on a real Isaac Sim
    return code


def collect(address: str, folder: Path) -> Bundle:
    """Copies a stage and everything that it needs, and makes its paths relative.

    Args:
        address: of the root layer; whatever the USD of this process can resolve.
        folder: to copy into; made if it isn't there.

    Raises:
        InvalidRequest: the folder holds something, the address is no stage that can be read, or
            something that it needs is missing.
    """
    from pxr import Sdf, Tf, UsdUtils

    if folder.exists() and any(folder.iterdir()):
        raise InvalidRequest("folder", f"{folder} is not empty: a scene has a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # What it answers is false for OmniPBR.mdl already, which lies in no scene: the bundle says
        # what is missing.
        UsdUtils.LocalizeAsset(Sdf.AssetPath(address), str(folder))
    except Tf.ErrorException as error:
        raise InvalidRequest(
            "address", f"{address} is not a stage that can be read: {usd_words(error)}"
        ) from error
    root = folder / posixpath.basename(unquote(urlsplit(address).path))
    if not root.is_file():
        raise InvalidRequest(
            "address",
            f"{address} can't be opened: is the name right, and is this Isaac Sim signed in to the "
            "server (OMNI_USER and OMNI_PASS)?",
        )
    for layer in sorted(folder.rglob("*.usd*")):
        if layer.suffix != ".usdz":
            _anchor(layer, folder)
    return make_bundle(root, folder)


def _anchor(path: Path, folder: Path) -> None:
    """Makes the paths of a copied layer relative to the layer.

    What USD has moved is named from the folder on, as in a package, and is not found from a layer
    below it (seen with USD 26.11).
    """
    from pxr import Sdf, UsdUtils

    def anchored(named: str) -> str:
        file, bracket, inside = named.partition("[")
        if not file or _found(path.parent, file) or not _found(folder, file):
            return named
        return posixpath.relpath(folder / file, path.parent) + bracket + inside

    layer = Sdf.Layer.FindOrOpen(str(path))
    UsdUtils.ModifyAssetPaths(layer, anchored)
    if layer.dirty:
        layer.Save()


def _found(folder: Path, named: str) -> bool:
    """Whether a file is there, or a tile of a UDIM set."""
    before, tile, after = named.partition("<UDIM>")
    if not tile:
        return (folder / named).is_file()
    return any((folder / f"{before}{number}{after}").is_file() for number in range(1001, 1101))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # Isaac's fast shutdown writes nothing that is left


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
