"""The notes of a release are the changelog's, and a tag that doesn't fit makes no release."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.release_notes import NotReleasable, check_packages, main, section, version_of

CHANGELOG = """# Changelog

Words about versions.

## 1.1.0 - unreleased

### Added

- Something new.

## 1.0.1 - 2026-05-02

### Fixed

- A fault, see
  [its page](docs/faults.md).

### Added

- `--json` of 1.0.0's commands.

## [1.0.0] - 2026-04-01

## 0.9.0-rc.1 - 2026-03-01

- The first.
"""


def test_the_notes_are_the_text_between_two_headings_of_versions() -> None:
    notes = section(CHANGELOG, "1.0.1")
    assert notes.startswith("### Fixed\n")
    assert notes.endswith("- `--json` of 1.0.0's commands.\n")
    assert "1.1.0" not in notes


def test_the_last_section_ends_with_the_file() -> None:
    assert section(CHANGELOG, "0.9.0-rc.1") == "- The first.\n"


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("1.1.0", "'## 1.1.0 - YYYY-MM-DD'"),
        ("1.0.0", "says nothing of 1.0.0"),
        ("1.0", "no section of 1.0; it has 1.1.0, 1.0.1, 1.0.0, 0.9.0-rc.1"),
    ],
)
def test_an_undated_an_empty_and_a_missing_section_are_refused(version: str, problem: str) -> None:
    with pytest.raises(NotReleasable) as caught:
        section(CHANGELOG, version)
    assert problem in str(caught.value)


@pytest.mark.parametrize("tag", ["1.0.0", "v1.0", "v1.0.0 ", "version", "v1.0.0/x"])
def test_a_tag_that_names_no_version_is_refused(tag: str) -> None:
    with pytest.raises(NotReleasable):
        version_of(tag)


def test_a_tag_names_its_version_with_or_without_a_pre_release() -> None:
    assert version_of("v1.0.1") == "1.0.1"
    assert version_of("v2.0.0-rc.1") == "2.0.0-rc.1"


def test_packages_of_another_version_are_all_named(tmp_path: Path) -> None:
    for folder, version in (("", "1.0.1"), ("packages/one", "1.0.0"), ("services/two", "0.9.9")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        text = f'[project]\nname = "x"\nversion = "{version}"\n'
        (tmp_path / folder / "pyproject.toml").write_text(text)
    with pytest.raises(NotReleasable) as caught:
        check_packages(tmp_path, "1.0.1")
    problem = str(caught.value)
    assert "packages/one/pyproject.toml says 1.0.0" in problem
    assert "services/two/pyproject.toml says 0.9.9" in problem


def test_all_packages_of_this_repository_have_one_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["v99.0.0"]) == 1
    named = capsys.readouterr().err
    for package in ("packages/simcloud/", "services/generator/", "model-container/"):
        assert package in named
    (version,) = {line.rsplit(" ", 1)[1] for line in named.strip().split("; ")}
    check_packages(Path(__file__).parents[3], version)
