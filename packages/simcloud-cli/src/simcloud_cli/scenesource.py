"""Where a scene is: a path on this machine, or an address in S3 that is fetched first."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from simcloud.errors import InvalidRequest
from simcloud.s3.client import S3Settings
from simcloud.scene.spec_pictures import find_pictures
from simcloud.scene.stage import url_advice


def local_stage(root: str, base: Path) -> Path:
    """The root layer on this machine.

    Args:
        root: a path, relative ones to ``base``; or ``s3://bucket/folder/scene.usda``, which is
            fetched with all that it refers to into a folder that goes when the process ends.
        base: folder of the spec, or the current one.

    Raises:
        InvalidRequest: another kind of URL; what to do is said.
        NotFound: not in S3.
        StorageError: S3 failed.
    """
    if "://" not in root:
        return base / Path(root).expanduser()
    if not root.startswith("s3://"):
        advice = url_advice(root) if root.startswith("omniverse:") else "name a path or s3://..."
        raise InvalidRequest("scene.root", f"{root}: {advice}")
    from simcloud.s3.objects import open_store
    from simcloud.scene.remote import fetch_stage
    from simcloud_cli.interrupt import run_async

    async def fetch() -> Path:
        async with open_store(_settings()) as store:
            return await fetch_stage(store, root, folder=_passing_folder())

    return run_async(fetch())


def local_pictures(name: str, base: Path) -> list[Path]:
    """Files on this machine of what a spec names as a texture, in order.

    Args:
        name: path of a picture or of a folder of them, relative ones to ``base``; or
            ``s3://bucket/picture.png``, or ``s3://bucket/folder/``: fetched, as a scene is.
        base: folder of the spec.

    Raises:
        InvalidRequest: nothing is there, no picture, or another kind of URL.
        NotFound: not in S3.
        StorageError: S3 failed.
    """
    if "://" not in name:
        return find_pictures(name, base)
    from simcloud.s3.objects import open_store
    from simcloud.scene.remote import fetch_pictures
    from simcloud_cli.interrupt import run_async

    async def fetch() -> list[Path]:
        async with open_store(_settings()) as store:
            return await fetch_pictures(store, name, folder=_passing_folder())

    return run_async(fetch())


def _passing_folder() -> Path:
    """An empty folder that goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="simcloud-scene-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _settings() -> S3Settings:
    """S3 of the context in force; beside the embedded stack, whatever the environment names."""
    from simcloud_cli.session import current_context

    _, context = current_context()
    return S3Settings() if context.embedded else context.s3
