"""The scenes' own builders and their helpers, imported by path: they are scripts, no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[2]
SCENES = REPOSITORY / "scenes"


def builder(scene: str) -> ModuleType:
    """The module ``scenes/<scene>/build.py``, with its neighbours of scripts/assets on the path."""
    name = f"scene_builder_{scene}"
    found = sys.modules.get(name)
    if found is not None:
        return found
    specification = importlib.util.spec_from_file_location(name, SCENES / scene / "build.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def folder_bytes(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Files of a folder by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
    }
