"""RFC 8785 form and digest of what the pydantic models say."""

from __future__ import annotations

import hashlib
import json
from typing import TypeVar

import rfc8785
from pydantic import BaseModel, ValidationError

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
}
"""Where pydantic's own words speak of its machinery."""


def problems(error: ValidationError) -> list[tuple[str, str]]:
    """Every problem of a validation: path as ``cameras[0].width_px``, and what is wrong."""
    result = []
    found = error.errors(include_url=False)
    for item in found:
        inside = len(item["loc"])
        if item["type"] == "too_short" and any(
            other["loc"][:inside] == item["loc"] for other in found if other is not item
        ):
            # pydantic counts the items that are right; what is wrong with the others is said.
            continue
        path = ""
        for part in item["loc"]:
            if isinstance(part, str) and part.startswith("function-"):
                continue  # pydantic's name of a validator among alternatives, no field
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
        words = str(item["msg"]).removeprefix("Value error, ")
        result.append((path, _WORDS.get(item["type"], words)))
    return result
