"""What a run is called, and who made it."""

from __future__ import annotations

import getpass
import platform
import re
import socket
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "simcloud",
    "simcloud-generator",
    "mitsuba",
    "embreex",
    "usd-core",
    "mujoco",
    "numpy",
)


def default_run_name(name: str, digest: str) -> str:
    """``<spec's name>-<first digits of its digest>``: the same spec resumes the same run."""
    plain = re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-_.") or "run"
    return f"{plain[:48]}-{digest[:8]}"


def provenance() -> dict[str, object]:
    """Who and what creates a run: for people, never part of a digest."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "host": socket.gethostname(),
        "user": _user(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user id need not have a name.
        return ""
