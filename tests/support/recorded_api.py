"""Modules, classes and functions made from the recorded API, which refuse everything else.

Nothing here knows what the backend calls: names, parameters and defaults come from the stubs, and a
call is bound to its recorded signature before anything happens.
"""

from __future__ import annotations

import enum
import functools
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from simcloud_generator.backends.isaac.signatures import Class, Function, recorded


class NotRecorded(AttributeError):
    """Something was used that no source shows."""


class _RefusingModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotRecorded(f"{self.__name__}.{name} is not recorded")


def make_function(record: Function, where: str, behaviour: Callable[..., Any]) -> Any:
    """A function with the recorded signature; calls reach the behaviour with all arguments."""
    signature = record.signature()

    @functools.wraps(behaviour)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{where}: {error}; recorded is {signature}") from error
        bound.apply_defaults()
        return behaviour(**bound.arguments)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def make_class(module: str, name: str) -> type[Any]:
    """A class with the recorded methods, each answered by the same method of what it wraps."""
    record = recorded()[module][name]
    assert isinstance(record, Class)
    if record.members:
        return enum.Enum(name, record.members)  # type: ignore[return-value]

    def refuse(self: Any, attribute: str) -> Any:
        raise NotRecorded(f"{module}.{name}.{attribute} is not recorded")

    def refuse_set(self: Any, attribute: str, value: Any) -> None:
        raise NotRecorded(f"{module}.{name}.{attribute} cannot be set")

    content: dict[str, Any] = {"__slots__": ("_answers",), "__getattr__": refuse}
    content["__setattr__"] = refuse_set
    for method, function in record.methods.items():
        if method != "__init__" and not function.is_class_method:
            content[method] = _method(function, f"{module}.{name}.{method}", method)
    for item in record.properties:
        content[item] = property(functools.partial(_get, name=item))
    return type(name, (), content)


def wrapped(kind: type[Any], answers: object) -> Any:
    """An instance of a recorded class in front of an object of the stand-in."""
    instance: Any = object.__new__(kind)
    object.__setattr__(instance, "_answers", answers)
    return instance


def install(behaviours: dict[str, Any]) -> None:
    """Puts all recorded modules into ``sys.modules``.

    Args:
        behaviours: what answers, by the full name of a function or of a class.
    """
    for module, entries in recorded().items():
        if module == "isaacsim":
            continue  # imported from its folder before the application starts
        made = _RefusingModule(module)
        made.__path__ = []
        for name, record in entries.items():
            if name.startswith("_"):
                continue
            where = f"{module}.{name}"
            if isinstance(record, Function):
                value = make_function(record, where, behaviours.get(where, _silent(where)))
            else:
                value = behaviours[where]
            setattr(made, name, value)
        _place(module, made)


def uninstall() -> None:
    """Takes them out again."""
    for name in list(sys.modules):
        if name in ("omni", "isaacsim") or name.startswith(("omni.", "isaacsim.")):
            del sys.modules[name]


def _place(module: str, made: ModuleType) -> None:
    parts = module.split(".")
    for depth in range(1, len(parts)):
        name = ".".join(parts[:depth])
        if name not in sys.modules:
            package = _RefusingModule(name)
            package.__path__ = []
            _place(name, package)
    sys.modules[module] = made
    if len(parts) > 1:
        setattr(sys.modules[".".join(parts[:-1])], parts[-1], made)


def _method(function: Function, where: str, method: str) -> Any:
    signature = function.signature()

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{where}: {error}; recorded is {signature}") from error
        bound.apply_defaults()
        return getattr(self._answers, method)(**bound.arguments)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    shown = signature.replace(parameters=[own, *signature.parameters.values()])
    call.__signature__ = shown  # type: ignore[attr-defined]
    return call


def _get(self: Any, name: str) -> Any:
    return getattr(self._answers, name)


def _silent(where: str) -> Callable[..., Any]:
    def refuse(**_: Any) -> Any:
        raise NotImplementedError(f"{where} is recorded, but the stand-in does not do it")

    return refuse
