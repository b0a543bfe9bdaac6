"""Makes `docs/reference/` from the code: one page a table that lives in the code.

Without arguments it writes the pages; with ``--check`` it changes nothing and fails, naming the
command that mends it, when a committed page is not what the code says. The output depends on the
code and on the pinned packages alone, never on the machine.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = Path("docs/reference")
_LINES_SHOWN = 20
"""Of the difference of one page."""


def main() -> int:
    """Writes or checks the pages; 1 when a committed one is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check: bool = parser.parse_args().check
    os.environ.pop("XDG_CACHE_HOME", None)  # a default names it
    # Run as a script, Python knows the folder of this file but not the one above it.
    sys.path.insert(0, str(ROOT))
    from scripts.reference.pages import make_pages

    pages = dict(make_pages())
    if check:
        return _check(pages)
    for old in _committed().values():
        old.unlink()
    for name, text in pages.items():
        path = ROOT / PAGES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def _committed() -> dict[str, Path]:
    folder = ROOT / PAGES
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path for path in sorted(files)}


def _check(pages: dict[str, str]) -> int:
    from scripts.reference.markdown import REPAIR

    stale = False
    found = _committed()
    for name in sorted(pages.keys() | found.keys()):
        old = found[name].read_text(encoding="utf-8") if name in found else ""
        new = pages.get(name, "")
        if old == new:
            continue
        stale = True
        lines = difflib.unified_diff(
            old.splitlines(keepends=True),
            new.splitlines(keepends=True),
            f"committed/{name}",
            f"code/{name}",
            n=1,
        )
        sys.stderr.writelines(islice(lines, _LINES_SHOWN))
    if stale:
        sys.stderr.write(f"{PAGES} is stale: run '{REPAIR}' and commit the result\n")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
