"""The pages hold together: links resolve, nothing is unreachable, what is named exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from simcloud.spec.model import Spec
from simcloud_cli.specfile import LabelsFile
from simcloud_inference_router.catalog import Catalog

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINKED = [
    *PAGES,
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "THIRD_PARTY_NOTICES.md",
    ROOT / "proto" / "README.md",
]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def _text(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _links(page: Path) -> list[str]:
    targets = _LINK.findall(_text(page))
    return [target for target in targets if not target.startswith(("http:", "https:", "mailto:"))]


def _anchors(page: Path) -> set[str]:
    """Anchors as GitHub makes them: lower case, punctuation dropped, spaces as dashes."""
    found = set()
    for heading in _HEADING.findall(_text(page)):
        plain = _LINK.sub(lambda match: match.group(0)[1:].partition("]")[0], heading)
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return found


def _yaml_blocks(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_resolves(page: Path) -> None:
    broken = []
    for target in _links(page):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        wanted = {anchor} if anchor and linked.suffix == ".md" else set()
        if not linked.exists() or (wanted and not wanted <= _anchors(linked)):
            broken.append(target)
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    seen: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in _links(page)]
        waiting += [target for target in targets if target.suffix == ".md"]
    assert sorted(set(PAGES) - seen) == []


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    # In code only: prose may make other things.
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert named <= targets


def test_files_that_the_pages_name_exist() -> None:
    missing = []
    for page in LINKED:
        for name in re.findall(r"`((?:tests|scripts|packages|services)/[\w./*-]+)`", _text(page)):
            found = list(ROOT.glob(name.rstrip("/"))) if "..." not in name else [ROOT]
            if not found:
                missing.append(f"{page.relative_to(ROOT)}: {name}")
    assert missing == []


def test_tests_that_the_track_record_names_exist() -> None:
    for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", _text(DOCS / "faults.md")):
        assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8")


def test_the_specs_of_the_guides_are_specs() -> None:
    spec, balanced, labels = _yaml_blocks("guides/own-scene.md")
    assert Spec.model_validate(yaml.safe_load(spec)).randomization.objects
    assert Spec.model_validate(yaml.safe_load(spec) | yaml.safe_load(balanced)).randomization.joint
    assert LabelsFile.model_validate(yaml.safe_load(labels)).counting().labels


def test_the_parts_of_specs_of_the_guides_fit_into_one() -> None:
    whole = yaml.safe_load(_yaml_blocks("guides/own-scene.md")[0])
    for block in _yaml_blocks("guides/materials-and-cameras.md"):
        part = yaml.safe_load(block)
        assert Spec.model_validate(whole | part).model_dump(mode="json")


def test_the_catalogue_of_the_guide_is_one() -> None:
    (catalogue,) = _yaml_blocks("guides/score-a-model.md")
    filled_in = catalogue.replace("8f0c...", "8f0c" * 16)
    assert Catalog.model_validate(yaml.safe_load(filled_in)).models[0].targets


def test_the_schema_for_editors_takes_what_the_model_takes_and_refuses_slips() -> None:
    schema = json.loads((DOCS / "reference/schema/spec.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    editor = Draft202012Validator(schema)
    demo = yaml.safe_load((ROOT / "scenes/showroom/spec.yaml").read_text(encoding="utf-8"))
    guide = yaml.safe_load(_yaml_blocks("guides/own-scene.md")[0])
    assert list(editor.iter_errors(demo)) == []
    assert list(editor.iter_errors(guide)) == []
    slips: tuple[dict[str, object], ...] = (
        {"sed": 1},
        {"seed": -1},
        {"cameras": []},
        {"randomization": {"dome": {"environments": {"chioce": ["lobby"]}}}},
        {"randomization": {"dome": {"environments": "lobby", "intensity": {"uniform": [1]}}}},
    )
    for slip in slips:
        assert list(editor.iter_errors(demo | slip)), slip


def test_messages_of_the_troubleshooting_page_are_in_the_code() -> None:
    """Each piece of a quoted message, between its dots, stands in some source as it is quoted."""
    folders = ("packages", "services", "model-container")
    files = [path for folder in folders for path in (ROOT / folder).glob("**/src/**/*.py")]
    files += [ROOT / "Makefile", ROOT / "scripts" / "install-system-packages"]
    sources = " ".join(path.read_text(encoding="utf-8") for path in files)
    # Adjacent literals are one message; what an f-string fills in is a dot of the page's.
    joined = re.sub(r'"\s*\n\s*f?"', "", sources)
    text = (DOCS / "operations/troubleshooting.md").read_text(encoding="utf-8")
    missing = []
    for quoted in re.findall(r"\*\*`([^`]+)`", text):
        pieces = [piece.strip(" :;,") for piece in re.split(r"…", quoted)]
        missing += [piece for piece in pieces if len(piece) > 8 and piece not in joined]
    assert missing == []
