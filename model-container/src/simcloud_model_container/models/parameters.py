"""Request parameters: from a tensor request's `parameters` or from the custom attributes header."""

from __future__ import annotations

import re
from collections.abc import Mapping

from simcloud_model_container.errors import BadRequest

_PAIR = re.compile(r"\s*([a-z_]+)\s*=\s*([^;,\s]+)\s*")


def read_custom_attributes(header: str, names: frozenset[str]) -> dict[str, object]:
    """`name=value;name=value` of X-Amzn-SageMaker-Custom-Attributes.

    The header is the caller's to use, for a trace id for example: what isn't one of `names` is
    somebody else's and left alone.
    """
    pairs = (_PAIR.fullmatch(part) for part in re.split("[;,]", header))
    return {pair[1]: pair[2] for pair in pairs if pair is not None and pair[1] in names}


def number(
    parameters: Mapping[str, object], name: str, *, default: float, least: float, most: float
) -> float:
    """A number from `least` to `most`, both included.

    Raises:
        BadRequest: it is none, or out of range.
    """
    value = parameters.get(name, default)
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        result = float(value)
    except ValueError:
        result = float("nan")
    if not least <= result <= most:
        message = f"parameter {name}: expected a number from {least} to {most}, found {value!r}"
        raise BadRequest(message)
    return result


def whole_number(
    parameters: Mapping[str, object], name: str, *, default: int, least: int, most: int
) -> int:
    """As `number`, without a fraction.

    Raises:
        BadRequest: it is none, or out of range.
    """
    result = number(parameters, name, default=default, least=least, most=most)
    if not result.is_integer():
        message = f"parameter {name}: expected a whole number, found {parameters[name]!r}"
        raise BadRequest(message)
    return int(result)
