"""What every part of a spec has in common."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from simcloud.spec.distributions import Real

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def checked_name(name: str) -> str:
    """The name, if it may name a part of the spec; ValueError otherwise."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not 1 to 32 of [a-z0-9_-] beginning with a letter or digit")
    return name


Name = Annotated[str, AfterValidator(checked_name)]
"""Name of a part of the spec: it becomes part of file names and column names."""
Coordinates = tuple[Real, Real, Real]


def _in_order(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    if high < low:
        raise ValueError(
            f"the smallest value must come first, found [{low:g}, {high:g}]: write "
            f"[{high:g}, {low:g}]"
        )
    return ends


def _with_length(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = _in_order(ends)
    if low == high:
        raise ValueError(f"must have an extent, found [{low:g}, {high:g}]: move its ends apart")
    return ends


Range = Annotated[tuple[float, float], AfterValidator(_in_order)]
"""Smallest and largest value, which may be one."""
Extent = Annotated[tuple[float, float], AfterValidator(_with_length)]
"""Smallest and largest value, which are two."""


def is_unset(value: object) -> bool:
    """For ``exclude_if`` of fields that came after the first release.

    Unset they are not in the canonical JSON, so that a spec which says nothing of them has the
    digest that it always had.
    """
    return value is None or value is False


class SpecModel(BaseModel):
    """What every part of a spec has in common: frozen, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
