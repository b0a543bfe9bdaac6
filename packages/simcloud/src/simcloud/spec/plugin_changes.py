"""Changes of all plug-ins made to a frame at once; two that touch the same thing are refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

from simcloud.errors import InvalidRequest
from simcloud.spec.kinds import to_float32
from simcloud.spec.origins import origin_key
from simcloud.spec.parameters import FrameParameters, Scalar
from simcloud.spec.randomizer import CameraChange, Changes, ObjectChange

ItemT = TypeVar("ItemT")


def apply_changes(
    parameters: FrameParameters,
    answers: Mapping[str, Changes],
    *,
    randomizers: Mapping[str, str] | None = None,
) -> FrameParameters:
    """The frame with the changes of every plug-in, floats rounded to float32.

    Args:
        parameters: the frame before any.
        answers: changes by the plug-in's name.
        randomizers: entry point of each plug-in, for messages; None: as the plug-in is called.

    Raises:
        InvalidRequest: a change of something that is not there, a name that is there already, a
            number that is none, or two changes of one thing.
    """
    merge = _Merge(parameters.frame, randomizers or {})
    for plugin, changes in answers.items():
        merge.take(plugin, changes)
    lights = (*parameters.rect_lights, *parameters.lights)
    bound = {binding.prim for binding in merge.bindings}
    return replace(
        parameters,
        objects=(
            *merge.changed(parameters.objects, merge.objects, "objects"),
            *merge.added(merge.add_objects, parameters.objects, "add_objects"),
        ),
        rect_lights=(
            *parameters.rect_lights,
            *merge.added(merge.add_rect_lights, lights, "add_rect_lights"),
        ),
        lights=(
            *parameters.lights,
            *merge.added(merge.add_lights, lights, "add_lights"),
        ),
        dome=merge.dome or parameters.dome,
        bindings=(
            *(one for one in parameters.bindings if one.prim not in bound),
            *merge.bindings,
        ),
        cameras=tuple(merge.changed(parameters.cameras, merge.cameras, "cameras")),
        values=dict(sorted((parameters.values | merge.values).items())),
        origins=merge.origins,
    )


@dataclass(slots=True)
class _Merge:
    """What all plug-ins want, and who wanted what first."""

    frame: int
    randomizers: Mapping[str, str]
    """Entry point by the plug-in's name."""
    add_objects: list[tuple[str, Any]] = field(default_factory=list)
    add_rect_lights: list[tuple[str, Any]] = field(default_factory=list)
    add_lights: list[tuple[str, Any]] = field(default_factory=list)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    cameras: dict[str, dict[str, Any]] = field(default_factory=dict)
    bindings: list[Any] = field(default_factory=list)
    dome: Any = None
    values: dict[str, Scalar] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    """As :attr:`FrameParameters.origins`."""
    _owners: dict[str, str] = field(default_factory=dict)

    def take(self, plugin: str, changes: Changes) -> None:
        """Adds the changes of one plug-in."""
        try:
            changes = rounded(changes)
        except ValueError as error:
            raise self._refusal(plugin, f"answers {error}") from error
        self.add_objects += [(plugin, item) for item in changes.add_objects]
        self.add_rect_lights += [(plugin, item) for item in changes.add_rect_lights]
        self.add_lights += [(plugin, item) for item in changes.add_lights]
        for name, change in changes.objects.items():
            self._fields(plugin, "objects", name, change, self.objects)
        for name, tweak in changes.cameras.items():
            self._fields(plugin, "cameras", name, tweak, self.cameras)
        for binding in changes.bindings:
            self._own(plugin, f"bindings of {binding.prim}")
            self._put(plugin, origin_key("bindings", binding.prim))
            self.bindings.append(binding)
        if changes.dome is not None:
            self._own(plugin, "dome")
            self._put(plugin, "dome")
            self.dome = changes.dome
        self.values |= {f"plugin.{plugin}.{key}": item for key, item in changes.values.items()}

    def _fields(
        self,
        plugin: str,
        kind: str,
        name: str,
        change: ObjectChange | CameraChange,
        into: dict[str, dict[str, Any]],
    ) -> None:
        for one in fields(change):
            value = getattr(change, one.name)
            if value is not None and value != one.default:
                self._own(plugin, f"{kind}[{name}].{one.name}")
                into.setdefault(name, {})[one.name] = value
                self._put(plugin, origin_key(kind, name))
        into.setdefault(name, {})
        self._owners.setdefault(f"{kind}[{name}]", plugin)

    def _put(self, plugin: str, key: str) -> None:
        """Notes who put a thing into the frame, or changed it."""
        words, others = self._words(plugin), self.origins.get(key)
        if others is None:
            self.origins[key] = words
        elif words not in others:
            self.origins[key] = f"{others} and {words}"

    def _words(self, plugin: str) -> str:
        return f"the plug-in {plugin} (randomizer {self.randomizers.get(plugin, plugin)})"

    def _own(self, plugin: str, what: str) -> None:
        other = self._owners.setdefault(what, plugin)
        if other != plugin:
            raise self._refusal(plugin, f"changes {what}, and so does {self._words(other)}")

    def changed(
        self, items: Iterable[ItemT], changes: Mapping[str, dict[str, Any]], kind: str
    ) -> list[ItemT]:
        """The frame's own items as they are now."""
        result = []
        left = dict(changes)
        for item in items:
            found = dict(left.pop(item.name, {}))  # type: ignore[attr-defined]  # all have names
            if not found.pop("removed", False):
                result.append(replace(item, **found) if found else item)  # type: ignore[type-var]
        for name in left:
            owner = self._owners[f"{kind}[{name}]"]
            raise self._refusal(owner, f"changes {kind}[{name}], which the frame doesn't have")
        return result

    def added(
        self, items: Iterable[tuple[str, ItemT]], present: Iterable[Any], kind: str
    ) -> list[ItemT]:
        """What is new."""
        names = {item.name for item in present}
        result = []
        for plugin, item in items:
            name = item.name  # type: ignore[attr-defined]  # all have names
            if name in names:
                raise self._refusal(
                    plugin, f"adds {kind}[{name}], but the frame has a {name!r} already"
                )
            names.add(name)
            self._put(plugin, origin_key(kind.removeprefix("add_"), name))
            result.append(item)
        return result

    def _refusal(self, plugin: str, words: str) -> InvalidRequest:
        return InvalidRequest(
            f"randomization.plugins[{plugin}]",
            f"frame {self.frame}: {self._words(plugin)} {words}",
        )


def rounded(value: Any, where: str = "") -> Any:
    """The same with every float in it rounded to float32.

    Args:
        value: a number, text, tuple, mapping or dataclass of such.
        where: its place in what is rounded, for messages; things go by their names.

    Raises:
        ValueError: a float that is no number, infinite or beyond float32, and where it is.
    """
    if isinstance(value, float):
        if not math.isfinite(value) or abs(value) > 3.4028234663852886e38:
            place = f"{value!r} for {where}" if where else repr(value)
            raise ValueError(f"{place}, which is no float32 number")
        return to_float32(value)
    if isinstance(value, tuple):
        return tuple(
            rounded(item, f"{where}[{getattr(item, 'name', index)}]")
            for index, item in enumerate(value)
        )
    if isinstance(value, Mapping):
        return {key: rounded(item, f"{where}[{key}]") for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        prefix = f"{where}." if where else ""
        return replace(
            value,
            **{
                one.name: rounded(getattr(value, one.name), f"{prefix}{one.name}")
                for one in fields(value)
            },
        )
    return value
