"""Named distributions: what a spec may say instead of a value.

Each kind maps uniform random bits to a value by one documented formula, and every real value is
rounded to float32 before use, so that it is equal on every machine. In YAML a plain value stands
for a constant, and each kind has a short form: ``{uniform: [0, 1]}``,
``{normal: [mean, deviation]}``, ``{log_uniform: [1, 100]}``, ``{integer: [2, 5]}``,
``{choice: [oak, tile]}``, ``{weighted: {oak: 3, tile: 1}}``.
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from decimal import Context, Decimal
from statistics import NormalDist
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    model_validator,
)
from typing_extensions import TypedDict  # pydantic reads typing's own from Python 3.12 on

from simcloud.spec.parameters import Scalar
from simcloud.spec.streams import RandomStream

_EXACT = Context(prec=40)
"""libmpdec rounds exp and ln correctly: unlike libm's, they are equal on every machine."""
_STANDARD_NORMAL = NormalDist()


def to_float32(value: float) -> float:
    """Rounds to the nearest float32, ties to even; values beyond its range raise OverflowError."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


class _Distribution(BaseModel, ABC):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @abstractmethod
    def support(self) -> tuple[Scalar, ...]:
        """What it can draw: the values themselves, or both ends of an interval."""


class Constant(_Distribution):
    """Always the same value."""

    kind: Literal["constant"] = "constant"
    value: bool | int | float | str
    """The value; a real one is rounded to float32."""

    def support(self) -> tuple[Scalar, ...]:
        """The value."""
        return (self.value,)

    def draw(self, stream: RandomStream) -> Scalar:
        """Takes nothing from the stream."""
        del stream
        return to_float32(self.value) if isinstance(self.value, float) else self.value


class Uniform(_Distribution):
    """Real, ``low + (high - low) * u`` with u in [0, 1)."""

    kind: Literal["uniform"] = "uniform"
    low: float
    """Inclusive lower end."""
    high: float
    """Upper end; reached only by rounding."""

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.high < self.low:
            raise ValueError(f"high ({self.high}) is below low ({self.low})")
        return self

    def support(self) -> tuple[Scalar, ...]:
        """Both ends."""
        return (self.low, self.high)

    def draw(self, stream: RandomStream) -> float:
        """One uniform."""
        return to_float32(self.low + (self.high - self.low) * stream.uniform())


class LogUniform(_Distribution):
    """Real, ``exp(ln low + (ln high - ln low) * u)``: every factor of ten equally likely."""

    kind: Literal["log_uniform"] = "log_uniform"
    low: float = Field(gt=0)
    """Inclusive lower end, above 0."""
    high: float = Field(gt=0)
    """Upper end, above 0."""

    @model_validator(mode="after")
    def _ordered(self) -> LogUniform:
        if self.high < self.low:
            raise ValueError(f"high ({self.high}) is below low ({self.low})")
        return self

    def support(self) -> tuple[Scalar, ...]:
        """Both ends."""
        return (self.low, self.high)

    def draw(self, stream: RandomStream) -> float:
        """One uniform."""
        low, high = (_EXACT.ln(Decimal(end)) for end in (self.low, self.high))
        share = Decimal(stream.uniform())
        return to_float32(float(_EXACT.exp(_EXACT.add(low, _EXACT.multiply(high - low, share)))))


class Normal(_Distribution):
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

    def support(self) -> tuple[Scalar, ...]:
        """Both bounds; infinite where there is none."""
        return (
            -math.inf if self.low is None else self.low,
            math.inf if self.high is None else self.high,
        )

    def draw(self, stream: RandomStream) -> float:
        """One uniform, moved to the middle of its cell so that it is never 0."""
        share = stream.uniform() + 2.0**-54
        value = self.mean + self.deviation * _STANDARD_NORMAL.inv_cdf(share)
        value = value if self.low is None else max(value, self.low)
        return to_float32(value if self.high is None else min(value, self.high))


class Integer(_Distribution):
    """Whole number, ``low + floor((high - low + 1) * u)``: both ends inclusive."""

    kind: Literal["integer"] = "integer"
    low: int
    """Smallest value."""
    high: int
    """Largest value, inclusive."""

    @model_validator(mode="after")
    def _ordered(self) -> Integer:
        if self.high < self.low:
            raise ValueError(f"high ({self.high}) is below low ({self.low})")
        return self

    def support(self) -> tuple[Scalar, ...]:
        """Both ends."""
        return (self.low, self.high)

    def draw(self, stream: RandomStream) -> int:
        """One uniform."""
        return self.low + math.floor((self.high - self.low + 1) * stream.uniform())


class Choice(_Distribution):
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

    def draw(self, stream: RandomStream) -> Scalar:
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
        return to_float32(chosen) if isinstance(chosen, float) else chosen


# Short forms, as the JSON Schema tells editors about them; `_long_form` is what reads them.
_Pair = tuple[float, float]


class _ShortUniform(TypedDict):
    uniform: _Pair


class _ShortLogUniform(TypedDict):
    log_uniform: _Pair


class _ShortInteger(TypedDict):
    integer: tuple[int, int]


class _ShortNormal(TypedDict):
    normal: _Pair | dict[Literal["mean", "deviation", "low", "high"], float]


class _ShortChoice(TypedDict):
    choice: list[bool | int | float | str]


class _ShortWeighted(TypedDict):
    weighted: dict[str, float]


def _long_form(value: object) -> object:
    """The explicit form of a distribution's YAML short form; anything else is left to pydantic."""
    if isinstance(value, bool | int | float | str):
        return {"kind": "constant", "value": value}
    if not isinstance(value, dict) or len(value) != 1:
        return value
    (kind, body), *_ = value.items()
    match kind, body:
        case (("uniform" | "log_uniform" | "integer"), [low, high]):
            return {"kind": kind, "low": low, "high": high}
        case "normal", [mean, deviation]:
            return {"kind": kind, "mean": mean, "deviation": deviation}
        case "choice", list():
            return {"kind": kind, "values": body}
        case "weighted", dict():
            return {"kind": "choice", "values": list(body), "weights": list(body.values())}
        case _, dict() if isinstance(kind, str):
            return {"kind": kind, **body}
    return value


_Kind = Annotated[
    Constant | Uniform | LogUniform | Normal | Integer | Choice, Discriminator("kind")
]
_Input = (
    _Kind
    | bool
    | int
    | float
    | str
    | _ShortUniform
    | _ShortLogUniform
    | _ShortInteger
    | _ShortNormal
    | _ShortChoice
    | _ShortWeighted
)
Distribution = Annotated[_Kind, BeforeValidator(_long_form, json_schema_input_type=_Input)]
"""Any of them, or a short form."""


def _draws_numbers(value: Distribution) -> Distribution:
    for item in value.support():
        if isinstance(item, str | bool):
            raise ValueError(f"must draw numbers, but can draw {item!r}")
    return value


def _draws_texts(value: Distribution) -> Distribution:
    for item in value.support():
        if not isinstance(item, str):
            raise ValueError(f"must draw names, but can draw {item!r}")
    return value


Real = Annotated[Distribution, AfterValidator(_draws_numbers)]
"""A distribution of numbers."""
Text = Annotated[Distribution, AfterValidator(_draws_texts)]
"""A distribution of names."""


def between(low: float, high: float) -> AfterValidator:
    """Validator: every value the distribution can draw lies in [low, high]."""

    def check(value: Distribution) -> Distribution:
        for item in value.support():
            if isinstance(item, str) or not low <= item <= high:
                raise ValueError(f"must draw values in [{low}, {high}], but can draw {item!r}")
        return value

    return AfterValidator(check)
