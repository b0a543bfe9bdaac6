from __future__ import annotations

from pathlib import Path

import pytest

from simcloud.errors import PreconditionFailed
from simcloud_generator.backends.mitsuba import variant


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose libraries lie in one folder."""
    monkeypatch.setattr(variant, "LIBRARY_FOLDERS", (str(tmp_path),))
    monkeypatch.delenv("DRJIT_LIBLLVM_PATH", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("names", "version"),
    [
        ([], None),
        (["libLLVM-14.so", "libLLVM-15.so.1"], None),
        (["libLLVM-15.so", "libLLVM.so.19.1"], 19),
        (["libLLVM-19.so", "libLLVM.so.22.1"], 19),
        (["libLLVM.so"], None),
    ],
)
def test_llvm_that_aborts_is_never_chosen(
    names: list[str], version: int | None, folder: Path
) -> None:
    for name in names:
        (folder / name).touch()
    found = variant.find_llvm()
    assert (found[1] if found else None) == version


def test_version_of_a_link_is_that_of_the_library(folder: Path) -> None:
    (folder / "libLLVM.so.15.0").touch()
    (folder / "libLLVM-19.so").symlink_to(folder / "libLLVM.so.15.0")
    assert variant.find_llvm() is None


def test_forced_library_is_taken_if_it_is_new_enough(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "libLLVM.so.19.1").touch()
    forced = folder / "elsewhere" / "libLLVM.so.22.1"
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", str(forced))
    assert variant.find_llvm() == (forced, 22)
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", str(folder / "libLLVM-15.so"))
    assert variant.find_llvm() is None


def test_unknown_variant_is_refused() -> None:
    with pytest.raises(PreconditionFailed, match="llvm_rgb is none of"):
        variant.choose_variant("llvm_rgb")
