"""Names that distributions may refer to, and whether everything that refers makes sense.

A value's name is where its model stands: ``dome.rotation_deg``, ``light.<name>.radiance``,
``camera.<name>.eye.x``, ``material.<name>``, ``<joint>.<column>``, and the plain names of
``randomization.values``. A name is resolved when something asks for it, from the spec alone, so the
order in which a spec lists things means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter

from simcloud.spec.distributions import (
    LARGEST,
    Choice,
    Conditional,
    Distribution,
    Reference,
    case_key,
)
from simcloud.spec.joint_model import sort_of
from simcloud.spec.kinds import Kind
from simcloud.spec.parameters import Scalar

if TYPE_CHECKING:
    from simcloud.spec.model import Randomization, Spec

_FLAT = frozenset({"placement", "orbit"})
"""Parts of a model whose values are named as if they were the model's own."""
_SHORTENED = {"environments": "environment"}
_SHOWN = 40
_REFERRING = frozenset({"reference", "conditional"})
_ADAPTER: TypeAdapter[Kind] = TypeAdapter(Distribution)


@dataclass(frozen=True, slots=True)
class NamedDraw:
    """How a name's value is drawn."""

    distribution: Kind
    stream: str
    """Name of its random bits."""


def named_draws(spec: Spec) -> dict[str, NamedDraw]:
    """Every name that a distribution may refer to, and how its value is drawn."""
    part = spec.randomization
    found: dict[str, NamedDraw] = {}
    for name, distribution in part.values.items():
        found[name] = NamedDraw(distribution, f"value.{name}")
    for table in part.joint:
        for index, column in enumerate(table.columns):
            found[f"{table.name}.{column}"] = NamedDraw(table.column(index), f"joint.{table.name}")
    own: dict[str, Kind] = {}
    if part.dome is not None:
        own.update(_of_model(part.dome, "dome"))
    for light in (*part.rect_lights, *part.lights):
        own.update(_of_model(light, f"light.{light.name}"))
    for camera in spec.cameras:
        own.update(_of_model(camera, f"camera.{camera.name}"))
    for choice in part.materials:
        own.update(choice.named())
    for group in part.objects:
        own[f"objects.{group.name}.tried"] = group.count
    return found | {name: NamedDraw(distribution, name) for name, distribution in own.items()}


def shared_names(part: Randomization) -> list[str]:
    """Names that no parameter has: those of joint tables and of shared values."""
    columns = [f"{table.name}.{column}" for table in part.joint for column in table.columns]
    return [*part.values, *columns]


def _of_model(model: BaseModel, prefix: str) -> Iterator[tuple[str, Kind]]:
    for field in type(model).model_fields:
        value = getattr(model, field)
        name = f"{prefix}.{_SHORTENED.get(field, field)}"
        match value:
            case Kind():
                yield name, value
            case (Kind(), Kind(), Kind()):
                for axis, one in zip("xyz", value, strict=True):
                    yield f"{name.removesuffix('_m')}.{axis}", one
            case BaseModel():
                yield from _of_model(value, prefix if field in _FLAT else name)


def _alternatives(name: str, known: Iterable[str]) -> str:
    """The names that are alike, else the first of all."""
    names = sorted(known)
    if alike := get_close_matches(name, names):
        return f"is one of these meant: {', '.join(alike)}?"
    return f"there are: {', '.join(names[:_SHOWN]) or 'none'}"


def check_references(spec: Spec) -> None:
    """Refuses names that don't exist, circles, cases that can't be, and values out of range.

    Raises:
        ValueError: the first of these, with the path of what refers.
    """
    table = named_draws(spec)
    _check_circles(table)
    found = list(_referring(spec.model_dump(mode="json"), ""))
    for path, one in found:
        for name in referred(one):
            if name not in table:
                raise ValueError(
                    f"{path}: there is no value {name!r}; {_alternatives(name, table)}"
                )
    reach = _Reach(table)
    for path, one in found:
        _check_cases(path, one, reach)
    for name, distribution in spec.randomization.values.items():
        sorts = sorted({sort_of(value) for value in reach.support(distribution)})
        if len(sorts) > 1:
            raise ValueError(f"randomization.values.{name}: mixes {'s and '.join(sorts)}s")
    # Every rule of every field once more, on what the references can hold.
    from simcloud.errors import InvalidRequest

    try:
        resolved(spec)
    except InvalidRequest as error:
        raise ValueError(f"{error.field}: {error.problem}" if error.field else error.problem) from (
            error
        )


def resolved(spec: Spec) -> Spec:
    """The spec with everything that refers replaced by a choice of what it can be.

    Its supports are those of the frames; its draws are not.

    Raises:
        InvalidRequest: a field can't be what its distribution refers to.
    """
    from pydantic import ValidationError

    from simcloud.errors import InvalidRequest
    from simcloud.spec.canonical import first_problem

    dump = spec.model_dump(mode="json")
    if not any(True for _ in _referring(dump, "")):
        return spec
    reach = _Reach(named_draws(spec))
    try:
        return type(spec).model_validate(_replaced(dump, reach, ""))
    except ValidationError as error:
        raise InvalidRequest(*first_problem(error)) from error


def referred(distribution: Kind) -> Iterator[str]:
    """Names that a distribution itself asks for."""
    match distribution:
        case Reference():
            yield distribution.name
        case Conditional():
            yield distribution.given
            for branch in distribution.branches():
                yield from referred(branch)


def _refers(node: dict[str, Any]) -> bool:
    return node.get("kind") in _REFERRING and ("given" in node or "name" in node)


def _is_settings(path: str) -> bool:
    """Whether it is what a plug-in is told, which is none of our business."""
    return path.startswith("randomization.plugins[") and path.endswith(".settings")


def _referring(node: object, path: str) -> Iterator[tuple[str, Kind]]:
    """Outermost distributions of a dumped spec that refer to names, and their paths."""
    if isinstance(node, dict):
        if _refers(node):
            yield path, _ADAPTER.validate_python(node)
        elif not _is_settings(path):
            for key, value in node.items():
                yield from _referring(value, f"{path}.{key}" if path else key)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _referring(value, f"{path}[{index}]")


def _replaced(node: object, reach: _Reach, path: str) -> object:
    if isinstance(node, dict):
        if _refers(node):
            values = reach.support(_ADAPTER.validate_python(node))
            return Choice(values=tuple(map(_finite, values))).model_dump(mode="json")
        if _is_settings(path):
            return node
        return {
            key: _replaced(value, reach, f"{path}.{key}" if path else key)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_replaced(value, reach, f"{path}[{index}]") for index, value in enumerate(node)]
    return node


def _finite(value: Scalar) -> Scalar:
    unbounded = isinstance(value, float) and math.isinf(value)
    return math.copysign(LARGEST, float(value)) if unbounded else value


class _Reach:
    """What distributions can draw once their references are followed; each name is followed once.

    Args:
        table: every name; there must be no circles in it.
    """

    def __init__(self, table: Mapping[str, NamedDraw]) -> None:
        self._table = table
        self._supports: dict[str, tuple[Scalar, ...]] = {}
        self._lists: dict[str, tuple[Scalar, ...] | None] = {}

    def support(self, distribution: Kind) -> tuple[Scalar, ...]:
        """The values themselves, or both ends of every interval."""
        match distribution:
            case Reference(name=name):
                if name not in self._supports:
                    self._supports[name] = self.support(self._table[name].distribution)
                return self._supports[name]
            case Conditional():
                parts = [self.support(branch) for branch in distribution.branches()]
                return tuple(dict.fromkeys(item for part in parts for item in part))
        return distribution.support()

    def enumerated(self, distribution: Kind) -> tuple[Scalar, ...] | None:
        """Every value; None where they are not a short list."""
        match distribution:
            case Reference(name=name):
                if name not in self._lists:
                    self._lists[name] = self.enumerated(self._table[name].distribution)
                return self._lists[name]
            case Conditional():
                parts = [self.enumerated(branch) for branch in distribution.branches()]
                known = [item for part in parts if part is not None for item in part]
                return None if None in parts else tuple(dict.fromkeys(known))
        return distribution.enumerated()

    def given(self, name: str) -> Kind:
        """How a name is drawn."""
        return self._table[name].distribution


def _check_circles(table: Mapping[str, NamedDraw]) -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " -> ".join((*way[way.index(name) :], name))
            raise ValueError(f"{name} depends on itself: {circle}")
        if name in done or name not in table:
            return
        for other in referred(table[name].distribution):
            visit(other, (*way, name))
        done.add(name)

    for name in table:
        visit(name, ())


def _check_cases(path: str, one: Kind, reach: _Reach) -> None:
    if not isinstance(one, Conditional):
        return
    given = reach.given(one.given)
    values = reach.enumerated(given)
    if one.below:
        texts = [item for item in reach.support(given) if isinstance(item, str | bool)]
        if texts:
            raise ValueError(f"{path}: {one.given} is no number, it can be {texts[0]!r}: use cases")
    elif values is None:
        raise ValueError(f"{path}: {one.given} draws numbers between ends: use below, not cases")
    else:
        keys = {case_key(value): None for value in values}
        for case in one.cases:
            if case not in keys:
                some = ", ".join(list(keys)[:_SHOWN])
                raise ValueError(f"{path}: {one.given} is never {case!r}; it can be: {some}")
        missing = [key for key in keys if key not in one.cases]
        if missing and one.default is None:
            raise ValueError(
                f"{path}: no case for {', '.join(missing[:_SHOWN])} of {one.given}, and no default"
            )
    for branch in one.branches():
        _check_cases(path, branch, reach)
