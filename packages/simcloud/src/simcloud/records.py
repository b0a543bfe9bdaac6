"""Dataclasses of which every request makes several."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A slotted dataclass that the type checker keeps from being changed, and nobody else.

    One that is frozen when it runs costs four times as much to make: each field is set through
    ``object.__setattr__``. Equal ones have the same hash.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
