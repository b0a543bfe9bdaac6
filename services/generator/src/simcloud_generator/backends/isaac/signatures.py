"""The recorded API: read from the stubs beside this file, compared with what is installed.

A mistake in a signature would show as a hang or as the previous frame's data, far from its cause;
so an installation that differs is refused at start-up, with the list of what differs.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

RECORD = Path(__file__).parent / "recorded"

UNKNOWN = object()
"""Default of a parameter that was only seen in use."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One recorded parameter."""

    name: str
    keyword_only: bool
    default: object = inspect.Parameter.empty
    """:data:`UNKNOWN` where it was not recorded."""


@dataclass(frozen=True, slots=True)
class Function:
    """A recorded function or method, without ``self`` and ``cls``."""

    parameters: tuple[Parameter, ...]
    is_class_method: bool = False

    @property
    def whole(self) -> bool:
        """Whether all of its parameters are known."""
        return all(parameter.default is not UNKNOWN for parameter in self.parameters)

    def signature(self) -> inspect.Signature:
        """What calls are bound against; an unknown default counts as a value that may be left."""
        return inspect.Signature(
            [
                inspect.Parameter(
                    item.name,
                    inspect.Parameter.KEYWORD_ONLY
                    if item.keyword_only
                    else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=None if item.default is UNKNOWN else item.default,
                )
                for item in self.parameters
            ]
        )


@dataclass(frozen=True, slots=True)
class Class:
    """A recorded class."""

    methods: dict[str, Function]
    properties: tuple[str, ...] = ()
    members: tuple[tuple[str, object], ...] = ()
    """Of an enumeration."""


Record = dict[str, dict[str, Function | Class]]
"""Functions and classes by module and name."""


@cache
def recorded() -> Record:
    """Everything that the stubs hold."""
    result: Record = {}
    for path in sorted(RECORD.rglob("*.pyi")):
        parts = path.relative_to(RECORD).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        result[module] = dict(_entries(tree.body))
    return result


def _entries(body: list[ast.stmt]) -> Iterator[tuple[str, Function | Class]]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, _function(node, method=False)
        elif isinstance(node, ast.ClassDef):
            yield node.name, _class(node)


def _class(node: ast.ClassDef) -> Class:
    methods: dict[str, Function] = {}
    properties: list[str] = []
    members: list[tuple[str, object]] = []
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            if "property" in _decorators(item):
                properties.append(item.name)
            else:
                methods[item.name] = _function(item, method=True)
        elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            members.append((item.targets[0].id, ast.literal_eval(item.value)))
    return Class(methods, tuple(properties), tuple(members))


def _decorators(node: ast.FunctionDef) -> set[str]:
    return {item.id for item in node.decorator_list if isinstance(item, ast.Name)}


def _function(node: ast.FunctionDef, *, method: bool) -> Function:
    arguments = node.args
    plain = arguments.args[1:] if method else arguments.args
    missing = [None] * (len(plain) - len(arguments.defaults))
    found = [
        Parameter(item.arg, keyword_only=False, default=_default(value))
        for item, value in zip(plain, [*missing, *arguments.defaults], strict=True)
    ]
    found += [
        Parameter(item.arg, keyword_only=True, default=_default(value))
        for item, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return Function(tuple(found), is_class_method="classmethod" in _decorators(node))


def _default(node: ast.expr | None) -> object:
    if node is None:
        return inspect.Parameter.empty
    value: object = ast.literal_eval(node)
    return UNKNOWN if value is Ellipsis else value


def installed_mismatches() -> list[str]:
    """What of the record the installed Isaac Sim does not have, or has otherwise.

    To be called after SimulationApp has started: before that ``omni`` cannot be imported.
    """
    found: list[str] = []
    for module, entries in recorded().items():
        if not entries:
            continue
        try:
            installed = importlib.import_module(module)
        except ImportError as error:
            found.append(f"{module}: cannot be imported ({error})")
            continue
        for name, entry in entries.items():
            if not name.startswith("_"):
                found += _entry_mismatches(installed, module, name, entry)
    return found


def _entry_mismatches(
    installed: ModuleType, module: str, name: str, entry: Function | Class
) -> list[str]:
    where = f"{module}.{name}"
    value = getattr(installed, name, None)
    if value is None:
        return [f"{where}: is not there"]
    if isinstance(entry, Function):
        return _function_mismatches(where, value, entry)
    found = [
        f"{where}.{member}: expected {expected!r}"
        for member, expected in entry.members
        if getattr(getattr(value, member, None), "value", None) != expected
    ]
    for method, function in entry.methods.items():
        found += _method_mismatches(f"{where}.{method}", value, method, function)
    return found


def object_mismatches(value: object, module: str, name: str) -> list[str]:
    """Of an object that a call returned, what its recorded class has and it does not.

    Args:
        value: the object.
        module: where its class is recorded.
        name: of the class, beginning with an underscore.
    """
    entry = recorded()[module][name]
    assert isinstance(entry, Class)
    where = f"{module}.{name}"
    found = [
        f"{where}.{item}: is not there" for item in entry.properties if not hasattr(value, item)
    ]
    for method, function in entry.methods.items():
        found += _method_mismatches(f"{where}.{method}", type(value), method, function)
    return found


def _method_mismatches(where: str, owner: object, method: str, function: Function) -> list[str]:
    value = inspect.getattr_static(owner, method, None)
    if value is None:
        return [f"{where}: is not there"]
    if isinstance(value, classmethod | staticmethod):
        bound = getattr(owner, method)
        return _function_mismatches(where, bound, function)
    return _function_mismatches(where, value, function, method=True)


def _function_mismatches(
    where: str, value: object, entry: Function, *, method: bool = False
) -> list[str]:
    if not callable(value):
        return [f"{where}: is no function"]
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (ValueError, TypeError):  # native code tells nothing about its parameters
        return []
    if method:
        parameters = parameters[1:]
    return [f"{where}: {problem}" for problem in _differences(parameters, entry)]


def _differences(installed: list[inspect.Parameter], entry: Function) -> Iterator[str]:
    by_name = {parameter.name: parameter for parameter in installed}
    takes_any = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in installed)
    for expected in entry.parameters:
        found = by_name.get(expected.name)
        if found is None:
            if not takes_any:
                yield f"has no parameter {expected.name}"
        elif expected.default is not UNKNOWN and found.default != expected.default:
            yield (
                f"{expected.name} is {_shown(found.default)} by default, "
                f"recorded is {_shown(expected.default)}"
            )
    if not entry.whole:
        return
    names = {parameter.name for parameter in entry.parameters}
    for extra in installed:
        optional = extra.default is not inspect.Parameter.empty or extra.kind in (
            inspect.Parameter.VAR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
        )
        if extra.name not in names and not optional:
            yield f"wants {extra.name}, which is not recorded"
    recorded_order = [item.name for item in entry.parameters if not item.keyword_only]
    order = [item.name for item in installed if item.name in recorded_order]
    if order != [name for name in recorded_order if name in by_name]:
        yield f"has its parameters in the order {', '.join(order)}"


def _shown(default: object) -> str:
    return "required" if default is inspect.Parameter.empty else repr(default)
