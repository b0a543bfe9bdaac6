"""The library's public face is what is listed, all of it documented, nothing heavy before use."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import simcloud


def test_every_public_name_is_there_and_documented() -> None:
    assert simcloud.__all__ == sorted(simcloud.__all__)
    for name in simcloud.__all__:
        value = getattr(simcloud, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
    assert set(dir(simcloud)) == {*simcloud.__all__, "__version__"}


def test_the_list_and_the_homes_agree() -> None:
    assert set(simcloud._HOME_OF) == set(simcloud.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Spek'"):
        _ = simcloud.Spek


def test_importing_the_library_imports_nothing_heavy() -> None:
    heavy = "numpy pydantic grpc pyarrow aiobotocore pxr cv2 mitsuba"
    code = f"import sys, simcloud; print([m for m in {heavy.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
