"""Named distributions: what a spec may say instead of a value.

In YAML a plain value stands for a constant, and each kind has a short form:
``{uniform: [0, 1]}``, ``{normal: [mean, deviation]}``, ``{log_uniform: [1, 100]}``,
``{integer: [2, 5]}``, ``{choice: [oak, tile]}``, ``{weighted: {oak: 3, tile: 1}}``,
``{sequence: [1, 2, 3]}``, ``{grid: [0, 90, 10]}``, ``{stratified: {uniform: [0, 1]}}``,
``{from: weather.haze}`` and ``{given: dome.environment, cases: {lab: 1}, default: 2}``.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NotRequired

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict  # pydantic reads typing's own from Python 3.12 on

from simcloud.errors import InvalidRequest
from simcloud.spec import short_forms
from simcloud.spec.kinds import (
    Choice,
    Constant,
    Integer,
    Kind,
    LogUniform,
    Normal,
    Uniform,
    Values,
    no_values,
    to_float32,
)
from simcloud.spec.kinds_by_frame import GridValues, Sequence
from simcloud.spec.parameters import Scalar
from simcloud.spec.streams import RandomStream, StratifiedStream

__all__ = (
    "Choice",
    "Conditional",
    "Constant",
    "Distribution",
    "GridValues",
    "Integer",
    "LogUniform",
    "Normal",
    "Real",
    "Reference",
    "Sequence",
    "Stratified",
    "Text",
    "Uniform",
    "between",
    "case_key",
    "to_float32",
)


LARGEST = 3.4028234663852886e38
"""Largest float32."""


class _ShortConditional(TypedDict):
    given: short_forms.ValueName
    cases: NotRequired[dict[str, Distribution]]
    below: NotRequired[dict[str, Distribution]]
    default: NotRequired[Distribution]


class Reference(Kind):
    """Whatever another name holds in the frame."""

    kind: Literal["reference"] = "reference"
    name: short_forms.ValueName
    """For example `light.key.temperature_k`, or `weather.haze` of a joint table."""

    def support(self) -> tuple[Scalar, ...]:
        """Nothing of its own: the spec knows what the name can hold."""
        return ()

    def draw(self, stream: RandomStream, values: Values = no_values) -> Scalar:
        """Takes nothing from the stream."""
        return values(self.name)


class Stratified(Kind):
    """Another distribution, drawn so that consecutive frames cover it evenly.

    Of every aligned 2^m frames one falls into each 2^m-th part of the distribution, m up to 20:
    slices of a run are covered alike, and weights become shares.
    """

    kind: Literal["stratified"] = "stratified"
    of: Annotated[
        short_forms.Independent,
        BeforeValidator(short_forms.long_form, json_schema_input_type=short_forms.IndependentInput),
    ]
    """Uniform, log_uniform, normal, integer, choice or weighted."""

    def support(self) -> tuple[Scalar, ...]:
        """The other's."""
        return self.of.support()

    def enumerated(self) -> tuple[Scalar, ...] | None:
        """The other's."""
        return self.of.enumerated()

    def draw(self, stream: RandomStream, values: Values = no_values) -> Scalar:
        """One stratified uniform."""
        even = StratifiedStream(seed=stream.seed, frame=stream.frame, name=stream.name)
        return self.of.draw(even, values)


def case_key(value: object) -> str:
    """How a value is written as the key of a case: ``lab``, ``3``, ``true``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _text_keys(value: object) -> object:
    """Keys as text: YAML reads ``3:`` and ``true:`` as a number and a truth value."""
    if isinstance(value, dict):
        return {case_key(key): branch for key, branch in value.items()}
    return value


class Conditional(Kind):
    """The distribution that fits what another name holds in the frame.

    Every branch draws from the value's own random bits, so changing one changes no other.
    """

    kind: Literal["conditional"] = "conditional"
    given: short_forms.ValueName
    """Name of the value that decides, for example `dome.environment`."""
    cases: Annotated[dict[str, Distribution], BeforeValidator(_text_keys)] = Field(
        default_factory=dict
    )
    """Distribution by value; for names, whole numbers and truth values."""
    below: Annotated[dict[str, Distribution], BeforeValidator(_text_keys)] = Field(
        default_factory=dict
    )
    """Distribution by exclusive upper limit, for numbers: the smallest limit above the value
    counts. Either this or `cases`."""
    default: Distribution | None = None
    """For every other value; may be left out when `cases` has them all."""

    @field_validator("below")
    @classmethod
    def _limits(cls, below: dict[str, Distribution]) -> dict[str, Distribution]:
        for key in below:
            try:
                finite = math.isfinite(float(key))
            except ValueError:
                finite = False
            if not finite:
                raise ValueError(f"{key!r} is no limit: write a number")
        return below

    @model_validator(mode="after")
    def _one_way(self) -> Conditional:
        if bool(self.cases) == bool(self.below):
            raise ValueError("give cases or below, one of them and not empty")
        if self.below and self.default is None:
            raise ValueError("below needs a default for what reaches the largest limit")
        return self

    def branches(self) -> tuple[Distribution, ...]:
        """Every distribution that it can become."""
        last = () if self.default is None else (self.default,)
        return (*self.cases.values(), *self.below.values(), *last)

    def support(self) -> tuple[Scalar, ...]:
        """That of all branches together."""
        return tuple(dict.fromkeys(item for one in self.branches() for item in one.support()))

    def enumerated(self) -> tuple[Scalar, ...] | None:
        """Those of all branches together, if each has them."""
        lists = [one.enumerated() for one in self.branches()]
        known = [item for one in lists if one is not None for item in one]
        return None if None in lists else tuple(dict.fromkeys(known))

    def draw(self, stream: RandomStream, values: Values = no_values) -> Scalar:
        """What the branch takes."""
        return self._branch(values(self.given)).draw(stream, values)

    def _branch(self, value: Scalar) -> Distribution:
        chosen = self.cases.get(case_key(value))
        if self.below:
            limits = sorted(self.below, key=float)
            chosen = next(
                (self.below[limit] for limit in limits if float(value) < float(limit)), None
            )
        branch = chosen or self.default
        if branch is None:
            raise InvalidRequest(self.given, f"holds {value!r}, for which there is no case")
        return branch


_Kind = Annotated[
    Constant
    | Uniform
    | LogUniform
    | Normal
    | Integer
    | Choice
    | Sequence
    | GridValues
    | Stratified
    | Reference
    | Conditional,
    Discriminator("kind"),
]
_Input = (
    _Kind
    | bool
    | int
    | float
    | str
    | short_forms.ShortUniform
    | short_forms.ShortLogUniform
    | short_forms.ShortInteger
    | short_forms.ShortNormal
    | short_forms.ShortChoice
    | short_forms.ShortWeighted
    | short_forms.ShortSequence
    | short_forms.ShortGrid
    | short_forms.ShortStratified
    | short_forms.ShortReference
    | _ShortConditional
)
Distribution = Annotated[
    _Kind, BeforeValidator(short_forms.long_form, json_schema_input_type=_Input)
]
"""Any of them, or a short form."""
Conditional.model_rebuild()


def _draws_numbers(value: Distribution) -> Distribution:
    for item in value.support():
        if isinstance(item, str | bool):
            raise ValueError(f"must draw numbers, but can draw {item!r}{_advice(item)}")
        if math.isfinite(item) and abs(item) > LARGEST:
            raise ValueError(f"can draw {item:g}, which no float32 holds: at most {LARGEST:.3g}")
    return value


def _advice(item: str | bool) -> str:
    """What to do about a text that looks like a number: YAML 1.1 takes 1e3 for a text."""
    try:
        number = float(item) if isinstance(item, str) else math.nan
    except ValueError:
        return ""
    return f": write {number:.1e}, YAML reads {item} as text" if math.isfinite(number) else ""


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
