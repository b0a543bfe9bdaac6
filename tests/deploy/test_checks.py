"""What checkov and hadolint are not asked: each with its reason beside it."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import yaml

from support.manifests import ROOT

CHECKS = ROOT / "deploy" / "checks"


@pytest.mark.parametrize(
    ("file", "key"), [("checkov.yaml", "skip-check"), ("hadolint.yaml", "ignored")]
)
def test_whatever_is_not_asked_has_a_reason(file: str, key: str) -> None:
    text = (CHECKS / file).read_text(encoding="utf-8")
    skipped = yaml.safe_load(text)[key]
    assert len(set(skipped)) == len(skipped)
    lines = [line.strip() for line in text.splitlines()]
    for before, line in pairwise(lines):
        if line.startswith("- ") and line[2:].split()[0] in skipped:
            beside = re.fullmatch(r"- [A-Z0-9_]+ +# .{5,}", line)
            assert beside or (before.startswith("# ") and len(before) > 10), line


def test_no_file_says_it_for_itself() -> None:
    """Suppressions are in one place."""
    found = [
        path.relative_to(ROOT)
        for folder in ("deploy", "services", "model-container", "packages", ".github")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".yaml", ".yml", ".tf", ".Dockerfile"} or "Dockerfile" in path.name
        if ".venv" not in path.parts and CHECKS not in path.parents
        if re.search(r"checkov:skip|checkov\.io/skip|hadolint +ignore", path.read_text("utf-8"))
    ]
    assert found == []


def test_both_are_pinned_by_hash() -> None:
    for folder in (CHECKS, ROOT / "deploy" / "sbom"):
        wanted = (folder / "requirements.in").read_text(encoding="utf-8")
        pins = (folder / "requirements.txt").read_text(encoding="utf-8")
        for name in re.findall(r"^([a-z-]+)", wanted, re.MULTILINE):
            assert re.search(rf"^{name}==\S+ \\\n    --hash=sha256:", pins, re.MULTILINE), name
        assert "http" not in re.sub(r"^\S*http\S*==.*$", "", pins, flags=re.MULTILINE)
