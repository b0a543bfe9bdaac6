"""RFC 8785 form and digest of what the pydantic models say."""

from __future__ import annotations

import hashlib
import json
from typing import TypeVar

import rfc8785
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from simcloud.errors import InvalidRequest

ModelT = TypeVar("ModelT", bound=BaseModel)


def canonical_json(model: BaseModel) -> bytes:
    """RFC 8785 JSON of a model with every default filled in, UTF-8."""
    return canonical_bytes(model.model_dump(mode="json"))


def canonical_bytes(value: object) -> bytes:
    """RFC 8785 JSON of plain data, UTF-8.

    Raises:
        ValueError: a number that JSON can't say (NaN, infinity, integers beyond 2**53).
    """
    return rfc8785.dumps(value)  # type: ignore[arg-type]  # JSON's types, checked at run time


def digest(canonical: bytes) -> str:
    """SHA-256, lower-case hex."""
    return hashlib.sha256(canonical).hexdigest()


def parse(kind: type[ModelT], data: bytes, *, field: str) -> ModelT:
    """A model from its canonical JSON.

    Args:
        kind: the model's class.
        data: RFC 8785 JSON, UTF-8.
        field: what the data is called in an error, for example ``spec.canonical_json``.

    Raises:
        InvalidRequest: not JSON, refused by the model (the first problem's path), or not canonical.
    """
    try:
        model = kind.model_validate(json.loads(data))
    except ValidationError as error:
        path, problem = first_problem(error)
        raise InvalidRequest(f"{field}.{path}" if path else field, problem) from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(field, f"is not JSON: {error}") from error
    if canonical_json(model) != data:
        raise InvalidRequest(
            field, "is not in canonical form (RFC 8785 with every default filled in)"
        )
    return model


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Path and words of the first problem of a validation."""
    return problems(error)[0]


_WORDS = {
    "extra_forbidden": "there is no such field here",
    "union_tag_not_found": "must say its `kind`",
    "finite_number": "must be a finite number",
}
"""Where pydantic's own words speak of its machinery."""
_SCALARS = frozenset({"bool", "int", "float", "str"})
_SCALAR_PROBLEMS = frozenset(
    f"{kind}_{what}" for kind in ("bool", "int", "float", "string") for what in ("type", "parsing")
) | {"finite_number", "int_from_float"}
_UNIONS = frozenset({"placement", "lights"})
"""Fields that hold one of several models; pydantic puts the model's tag behind them."""
_MOST = 200
"""Problems that are looked at: a list of thousands may be wrong in each item."""
_SHOWN_CHARACTERS = 60
"""Of what was found."""


def problems(error: ValidationError) -> list[tuple[str, str]]:
    """Problems of a validation, the first 200: path as ``cameras[0].width_px``, and what is wrong.

    Alternatives of one value make one problem, and a path holds nothing that the document does not.
    """
    found = error.errors(include_url=False)[:_MOST]
    places = [_place(item) for item in found]
    result: dict[tuple[str, str], None] = {}
    for item, place in zip(found, places, strict=True):
        both = zip(found, places, strict=True)
        alternatives = [other for other, where in both if where == place]
        deeper = any(place == where[: len(place)] and place != where for where in places)
        if item["type"] == "too_short" and (deeper or len(alternatives) > 1):
            # pydantic counts the items that are right; what is wrong with the others is said.
            continue
        if item["type"] in _SCALAR_PROBLEMS and (deeper or any(map(_says_more, alternatives))):
            continue  # an alternative that was not meant
        result[_path(place), _words(item, alternatives)] = None
    return list(result)


def _says_more(item: ErrorDetails) -> bool:
    return item["type"] not in _SCALAR_PROBLEMS


def _words(item: ErrorDetails, alternatives: list[ErrorDetails]) -> str:
    kinds = {one["type"] for one in alternatives}
    several = len(kinds) > 1 and kinds <= _SCALAR_PROBLEMS
    words = str(item["msg"]).removeprefix("Value error, ")
    words = _WORDS.get("finite_number" if "finite_number" in kinds else item["type"], words)
    if several and "finite_number" not in kinds:
        words = "must be a number, a name or a truth value"
    value = item["input"]
    plain = isinstance(value, bool | int | float | str) or value is None
    if plain and (several or words.startswith("Input should") or "finite_number" in kinds):
        words = f"{words}, found {str(value)[:_SHOWN_CHARACTERS]}"
    return words


def _place(item: ErrorDetails) -> tuple[int | str, ...]:
    """Where the problem is, without what only pydantic calls so."""
    loc = [part for part in item["loc"] if not str(part).startswith("function-")]
    last = str(loc[-1]) if loc else ""
    if item["type"] in _SCALAR_PROBLEMS and (last in _SCALARS or last.startswith("constrained-")):
        loc.pop()
    if loc[-2:] == ["constant", "value"]:
        del loc[-2:]
    kept: list[int | str] = []
    for index, part in enumerate(loc):
        before = [one for one in loc[max(index - 2, 0) : index] if isinstance(one, str)][-1:]
        tag = bool(before) and before[0] in _UNIONS and isinstance(part, str)
        tag |= part == "Box" and before == ["into"]
        if not tag and part != "conditional":
            kept.append(part)
    return tuple(kept)


def _path(place: tuple[int | str, ...]) -> str:
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
