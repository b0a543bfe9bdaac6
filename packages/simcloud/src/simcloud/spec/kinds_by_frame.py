"""Kinds of distributions that go by the frame index instead of chance: sweeps and grids."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from simcloud.spec.kinds import Kind, Values, drawn, in_order, no_values, to_float32
from simcloud.spec.parameters import Scalar
from simcloud.spec.streams import RandomStream


class Sequence(Kind):
    """Values in order, by the frame index: ``values[(frame // stride) % len(values)]``."""

    kind: Literal["sequence"] = "sequence"
    values: tuple[bool | int | float | str, ...] = Field(min_length=1, max_length=65_536)
    """What frames get, one after the other."""
    stride: int = Field(default=1, ge=1, le=2**53 - 1)
    """Frames in a row that get the same value. Sequences of 3 values with strides 1 and 3 go
    through all 9 pairs."""
    repeat: bool = True
    """Whether the values begin again after the last; otherwise the last one stays."""

    def support(self) -> tuple[Scalar, ...]:
        """The values."""
        return self.values

    def enumerated(self) -> tuple[Scalar, ...]:
        """The same."""
        return self.values

    def draw(self, stream: RandomStream, values: Values = no_values) -> Scalar:
        """Takes nothing from the stream but its frame index."""
        step = stream.frame // self.stride
        last = len(self.values) - 1
        chosen = self.values[step % (last + 1) if self.repeat else min(step, last)]
        return drawn(chosen)


class GridValues(Kind):
    """Real, evenly spaced from end to end by the frame index.

    ``low + (high - low) * k / (steps - 1)`` with ``k = (frame // stride) % steps``.
    """

    kind: Literal["grid"] = "grid"
    low: float
    """First value."""
    high: float
    """Last value."""
    steps: int = Field(ge=2, le=1_000_000)
    """How many values, both ends included."""
    stride: int = Field(default=1, ge=1, le=2**53 - 1)
    """Frames in a row that get the same value."""

    _ordered = model_validator(mode="after")(in_order)

    def support(self) -> tuple[Scalar, ...]:
        """Both ends."""
        return (self.low, self.high)

    def draw(self, stream: RandomStream, values: Values = no_values) -> float:
        """Takes nothing from the stream but its frame index."""
        step = stream.frame // self.stride % self.steps
        return to_float32(self.low + (self.high - self.low) * (step / (self.steps - 1)))
