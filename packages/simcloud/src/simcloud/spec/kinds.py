"""The kinds of distributions that stand alone: each maps random bits to a value.

One documented formula a kind; every real value is rounded to float32 before use, so that it is
equal on every machine.
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from decimal import Context, Decimal
from statistics import NormalDist
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simcloud.spec.parameters import Scalar
from simcloud.spec.streams import RandomStream

EXACT = Context(prec=40)
"""libmpdec rounds exp and ln correctly: unlike libm's, they are equal on every machine."""
_STANDARD_NORMAL = NormalDist()
_FEW = 1000
"""Whole numbers that are listed one by one when cases are compared with them."""

Values = Callable[[str], Scalar]
"""Looks up what a frame holds under a name."""


def no_values(name: str) -> Scalar:
    """The look-up of a frame that has no names."""
    raise LookupError(name)


def to_float32(value: float) -> float:
    """Rounds to the nearest float32, ties to even; values beyond its range raise OverflowError."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def drawn(value: Scalar) -> Scalar:
    """A value of a list as it is drawn: a real one rounded to float32."""
    return to_float32(value) if isinstance(value, float) else value


def power_of_two(exponent: float) -> float:
    """``2 ** exponent``, equal on every machine; exact for whole numbers."""
    return float(EXACT.exp(EXACT.multiply(EXACT.ln(Decimal(2)), Decimal(exponent))))


class Kind(BaseModel, ABC):
    """What every kind of distribution can do."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @abstractmethod
    def support(self) -> tuple[Scalar, ...]:
        """What it can draw: the values themselves, or both ends of an interval."""

    @abstractmethod
    def draw(self, stream: RandomStream, values: Values = no_values) -> Scalar:
        """A value.

        Args:
            stream: the random bits of the value's name in the frame.
            values: looks up what the frame holds under another name.
        """

    def enumerated(self) -> tuple[Scalar, ...] | None:
        """Every value that it can draw; None where they are not a short list."""
        return None


class _Ends(Protocol):
    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...


EndsT = TypeVar("EndsT", bound=_Ends)


def in_order(kind: EndsT) -> EndsT:
    """The kind itself; ValueError where its ends are the wrong way round."""
    low, high = kind.low, kind.high
    if low is not None and high is not None and high < low:
        raise ValueError(f"high ({high:g}) is below low ({low:g}): swap them")
    return kind


class Constant(Kind):
    """Always the same value."""

    kind: Literal["constant"] = "constant"
    value: bool | int | float | str
    """The value; a real one is rounded to float32."""

    def support(self) -> tuple[Scalar, ...]:
        """The value."""
        return (self.value,)

    def enumerated(self) -> tuple[Scalar, ...]:
        """The same."""
        return (self.value,)

    def draw(self, stream: RandomStream, values: Values = no_values) -> Scalar:
        """Takes nothing from the stream."""
        return drawn(self.value)


class Uniform(Kind):
    """Real, ``low + (high - low) * u`` with u in [0, 1)."""

    kind: Literal["uniform"] = "uniform"
    low: float
    """Inclusive lower end."""
    high: float
    """Upper end; reached only by rounding."""

    _ordered = model_validator(mode="after")(in_order)

    def support(self) -> tuple[Scalar, ...]:
        """Both ends."""
        return (self.low, self.high)

    def draw(self, stream: RandomStream, values: Values = no_values) -> float:
        """One uniform."""
        return to_float32(self.low + (self.high - self.low) * stream.uniform())


class LogUniform(Kind):
    """Real, ``exp(ln low + (ln high - ln low) * u)``: every factor of ten equally likely."""

    kind: Literal["log_uniform"] = "log_uniform"
    low: float = Field(gt=0)
    """Inclusive lower end, above 0."""
    high: float = Field(gt=0)
    """Upper end, above 0."""

    _ordered = model_validator(mode="after")(in_order)

    def support(self) -> tuple[Scalar, ...]:
        """Both ends."""
        return (self.low, self.high)

    def draw(self, stream: RandomStream, values: Values = no_values) -> float:
        """One uniform."""
        low, high = (EXACT.ln(Decimal(end)) for end in (self.low, self.high))
        share = Decimal(stream.uniform())
        return to_float32(float(EXACT.exp(EXACT.add(low, EXACT.multiply(high - low, share)))))


class Normal(Kind):
    """Real, ``mean + deviation * inverse_cdf(u)`` (Wichura's AS 241), clamped to [low, high]."""

    kind: Literal["normal"] = "normal"
    mean: float
    """Mean before clamping."""
    deviation: float = Field(ge=0)
    """Standard deviation before clamping, 0 or more."""
    low: float | None = None
    """Smallest value; None: unbounded."""
    high: float | None = None
    """Largest value; None: unbounded."""

    _ordered = model_validator(mode="after")(in_order)

    def support(self) -> tuple[Scalar, ...]:
        """Both bounds; infinite where there is none."""
        return (
            -math.inf if self.low is None else self.low,
            math.inf if self.high is None else self.high,
        )

    def draw(self, stream: RandomStream, values: Values = no_values) -> float:
        """One uniform, moved to the middle of its cell so that it is never 0."""
        share = stream.uniform() + 2.0**-54
        value = self.mean + self.deviation * _STANDARD_NORMAL.inv_cdf(share)
        value = value if self.low is None else max(value, self.low)
        return to_float32(value if self.high is None else min(value, self.high))


class Integer(Kind):
    """Whole number, ``low + floor((high - low + 1) * u)``: both ends inclusive."""

    kind: Literal["integer"] = "integer"
    low: int
    """Smallest value."""
    high: int
    """Largest value, inclusive."""

    _ordered = model_validator(mode="after")(in_order)

    def support(self) -> tuple[Scalar, ...]:
        """Both ends."""
        return (self.low, self.high)

    def enumerated(self) -> tuple[Scalar, ...] | None:
        """Every whole number between the ends."""
        few = self.high - self.low < _FEW
        return tuple(range(self.low, self.high + 1)) if few else None

    def draw(self, stream: RandomStream, values: Values = no_values) -> int:
        """One uniform."""
        return self.low + math.floor((self.high - self.low + 1) * stream.uniform())


class Choice(Kind):
    """One of several values, by weight."""

    kind: Literal["choice"] = "choice"
    values: tuple[bool | int | float | str, ...] = Field(min_length=1)
    """What to choose from."""
    weights: tuple[float, ...] | None = None
    """Relative weights, 0 or more, not all 0; None: all alike."""

    @model_validator(mode="after")
    def _weighable(self) -> Choice:
        if self.weights is not None:
            if len(self.weights) != len(self.values):
                raise ValueError(f"{len(self.values)} values but {len(self.weights)} weights")
            if min(self.weights) < 0 or sum(self.weights) <= 0:
                raise ValueError("weights must be 0 or more and not all 0")
        return self

    def support(self) -> tuple[Scalar, ...]:
        """The values."""
        return self.values

    def enumerated(self) -> tuple[Scalar, ...]:
        """The same."""
        return self.values

    def draw(self, stream: RandomStream, values: Values = no_values) -> Scalar:
        """One uniform, compared with the running sum of the weights."""
        weights = self.weights or (1.0,) * len(self.values)
        threshold = stream.uniform() * sum(weights)
        running = 0.0
        chosen = self.values[-1]
        for value, weight in zip(self.values, weights, strict=True):
            running += weight
            if threshold < running:
                chosen = value
                break
        return drawn(chosen)
