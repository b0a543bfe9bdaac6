"""What CHANGELOG.md says of a version, for the release that its tag makes.

python scripts/release_notes.py v0.1.0
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_TAG = re.compile(r"v(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)")
_HEADING = re.compile(r"^## +\[?(?P<version>\d[^\s\]]*)\]?(?: +- +(?P<date>.*))?$", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class NotReleasable(Exception):
    """A tag that can't become a release; the message says why and what to do."""


def version_of(tag: str) -> str:
    """The version that a tag names: ``v1.2.3`` is 1.2.3.

    Raises:
        NotReleasable: it names none.
    """
    found = _TAG.fullmatch(tag)
    if found is None:
        raise NotReleasable(f"tag {tag!r} names no version: tags are like v1.2.3")
    return found[1]


def section(changelog: str, version: str) -> str:
    """The text below a version's heading, up to the next version's.

    Raises:
        NotReleasable: there is no such heading, it has no date (a version that is still being
            written says "unreleased"), or nothing stands below it.
    """
    headings = list(_HEADING.finditer(changelog))
    for number, heading in enumerate(headings):
        if heading["version"] != version:
            continue
        if _DATE.fullmatch(heading["date"] or "") is None:
            raise NotReleasable(
                f"CHANGELOG.md has {heading[0]!r}: write the day of the release, "
                f"'## {version} - YYYY-MM-DD', and tag that commit"
            )
        end = headings[number + 1].start() if number + 1 < len(headings) else len(changelog)
        text = changelog[heading.end() : end].strip()
        if not re.search(r"^[-*] ", text, re.MULTILINE):
            raise NotReleasable(f"CHANGELOG.md says nothing of {version}: write what is different")
        return text + "\n"
    known = ", ".join(heading["version"] for heading in headings) or "no version"
    raise NotReleasable(f"CHANGELOG.md has no section of {version}; it has {known}")


def check_packages(root: Path, version: str) -> None:
    """Returns when every package below a root declares a version.

    Raises:
        NotReleasable: some declare another; all of them are named.
    """
    patterns = ("pyproject.toml", "*/pyproject.toml", "packages/*/pyproject.toml")
    files = [path for each in (*patterns, "services/*/pyproject.toml") for path in root.glob(each)]
    declared = {path: tomllib.loads(path.read_text())["project"]["version"] for path in files}
    others = [
        f"{path.relative_to(root)} says {found}"
        for path, found in sorted(declared.items())
        if found != version
    ]
    if others:
        raise NotReleasable(f"the tag says {version}, but {'; '.join(others)}")


def main(arguments: list[str]) -> int:
    """Prints the section; 1 with a reason where there is none."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        version = version_of(arguments[0])
        check_packages(ROOT, version)
        notes = section((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    except NotReleasable as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.write(notes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
