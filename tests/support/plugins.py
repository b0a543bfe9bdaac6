"""The guide's plug-in randomizer, installed as a package with an entry point."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simcloud.spec import plugins

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "plug-in-randomizer.md"
MODULE = "ring_randomizer"


def guide_block(marker: str) -> str:
    """The code block of the guide after ``<!-- test: marker -->``."""
    found = re.search(
        rf"<!-- test: {marker} -->\n```\w+\n(.*?)^```",
        GUIDE.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None, marker
    return found.group(1)


def install(folder: Path, source: str | None = None) -> Path:
    """Installs the guide's package, or one with another source, as an installer lays it out."""
    project = tomllib.loads(guide_block("plug-in project"))["project"]
    (folder / f"{MODULE}.py").write_text(source or guide_block("plug-in source"), encoding="utf-8")
    metadata = folder / f"{MODULE}-{project['version']}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Puts a folder on the import path of this process and of those that it spawns."""
    sys.path.insert(0, str(folder))
    forget()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        forget()


def forget() -> None:
    """Makes this process look at what is installed again, as a new one would."""
    sys.modules.pop(MODULE, None)
    importlib.invalidate_caches()
    plugins.installed_randomizer.cache_clear()
    plugins.load_randomizer.cache_clear()
