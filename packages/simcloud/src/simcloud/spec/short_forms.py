"""Short forms of distributions: how people write them, and what they stand for."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Discriminator, Field
from typing_extensions import TypedDict  # pydantic reads typing's own from Python 3.12 on

from simcloud.spec.kinds import Choice, Integer, LogUniform, Normal, Uniform

ValueName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,127}$")]
"""Full name of a value as it stands in the index, without ``params.``."""

# Short forms, as the JSON Schema tells editors about them; `long_form` is what reads them.
_Pair = tuple[float, float]
_Scalars = list[bool | int | float | str]


class ShortUniform(TypedDict):
    """``{uniform: [low, high]}``."""

    uniform: _Pair


class ShortLogUniform(TypedDict):
    """``{log_uniform: [low, high]}``."""

    log_uniform: _Pair


class ShortInteger(TypedDict):
    """``{integer: [low, high]}``."""

    integer: tuple[int, int]


class ShortNormal(TypedDict):
    """``{normal: [mean, deviation]}``."""

    normal: _Pair | dict[Literal["mean", "deviation", "low", "high"], float]


class ShortChoice(TypedDict):
    """``{choice: [a, b]}``."""

    choice: _Scalars


class ShortWeighted(TypedDict):
    """``{weighted: {a: 3, b: 1}}``."""

    weighted: dict[str, float]


class _Sequence(TypedDict):
    values: _Scalars
    stride: NotRequired[int]
    repeat: NotRequired[bool]


class ShortSequence(TypedDict):
    """``{sequence: [a, b]}``."""

    sequence: _Scalars | _Sequence


class _Grid(TypedDict):
    low: float
    high: float
    steps: int
    stride: NotRequired[int]


class ShortGrid(TypedDict):
    """``{grid: [low, high, steps]}``."""

    grid: tuple[float, float, int] | _Grid


ShortReference = TypedDict("ShortReference", {"from": ValueName})


Independent = Annotated[
    Uniform | LogUniform | Normal | Integer | Choice,
    Discriminator("kind"),
]
"""Kinds that take one uniform and nothing else."""
IndependentInput = (
    Independent
    | ShortUniform
    | ShortLogUniform
    | ShortInteger
    | ShortNormal
    | ShortChoice
    | ShortWeighted
)


class ShortStratified(TypedDict):
    """``{stratified: {uniform: [low, high]}}``."""

    stratified: IndependentInput


_FIELDS_IN_ORDER = {
    "uniform": ("low", "high"),
    "log_uniform": ("low", "high"),
    "integer": ("low", "high"),
    "normal": ("mean", "deviation"),
    "grid": ("low", "high", "steps"),
}
"""Kinds that may be written as a list, and what its items are."""
_SHORT_FORMS = {
    **{kind: ": ..., ".join(fields) for kind, fields in _FIELDS_IN_ORDER.items()},
    "choice": "values",
    "weighted": "values",
    "sequence": "values",
    "stratified": "of",
    "from": "name",
    "constant": "value",
}
"""First keys of short forms, and the fields that a mapping below each has."""
_TAKES = {
    **{kind: f"[{', '.join(fields)}]" for kind, fields in _FIELDS_IN_ORDER.items()},
    "weighted": "a mapping of values to weights",
    "stratified": "a distribution",
    "from": "the name of a value",
}


def long_form(value: object) -> object:
    """The explicit form of a distribution's short form; what says its kind is left to pydantic.

    Raises:
        ValueError: a mapping that is no distribution, with what it might have been.
    """
    if isinstance(value, bool | int | float | str):
        return {"kind": "constant", "value": value}
    if not isinstance(value, dict) or "kind" in value:
        return value
    if "given" in value:
        return {"kind": "conditional", **value}
    if len(value) == 1:
        (kind, body), *_ = value.items()
        form = _one_key(kind, body)
        if form is not None and kind in (*_SHORT_FORMS, "reference", "conditional"):
            return form
    raise ValueError(_what_is_wrong(value))


def _what_is_wrong(value: dict[object, object]) -> str:
    kinds = [key for key in value if isinstance(key, str) and key in _SHORT_FORMS]
    if not kinds:
        keys = ", ".join(repr(key) for key in value) or "an empty mapping"
        return f"{keys} is no distribution; there are: {', '.join((*_SHORT_FORMS, 'given'))}"
    if len(kinds) > 1:
        return f"{' and '.join(kinds)}: a value has one distribution"
    (kind,) = kinds
    others = ", ".join(str(key) for key in value if key != kind)
    if others:
        first = _SHORT_FORMS[kind]
        return f"{others} must stand inside: {{{kind}: {{{first}: ..., {others}: ...}}}}"
    return f"{kind} takes {_TAKES.get(kind, 'a list')}"


def _one_key(kind: object, body: object) -> dict[str, object] | None:
    """The explicit form of ``{kind: body}``; None where it is no short form."""
    match kind, body:
        case (("choice" | "sequence"), list()):
            return {"kind": kind, "values": body}
        case str(), list():
            fields = _FIELDS_IN_ORDER.get(kind, ())
            alike = len(fields) == len(body) > 0
            return {"kind": kind, **dict(zip(fields, body, strict=True))} if alike else None
        case "weighted", dict():
            return {"kind": "choice", "values": list(body), "weights": list(body.values())}
        case "from", str():
            return {"kind": "reference", "name": body}
        case "stratified", dict() if "of" not in body:
            return {"kind": kind, "of": body}
        case str(), dict():
            return {"kind": kind, **body}
    return None
