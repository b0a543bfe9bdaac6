"""Where a scene is: a path on this machine, or an address in S3 that is fetched first."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from simcloud.errors import InvalidRequest
from simcloud.s3.client import S3Settings
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

    folder = Path(tempfile.mkdtemp(prefix="simcloud-scene-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    async def fetch() -> Path:
        async with open_store(_settings()) as store:
            return await fetch_stage(store, root, folder=folder)

    return run_async(fetch())


def _settings() -> S3Settings:
    """S3 of the context in force; beside the embedded stack, whatever the environment names."""
    from simcloud_cli.session import current_context

    _, context = current_context()
    return S3Settings() if context.embedded else context.s3
