"""Plug-in randomizers found, checked by their source, and asked for their changes."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simcloud.errors import InvalidRequest, PreconditionFailed, SimcloudError
from simcloud.spec.canonical import problems
from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters
from simcloud.spec.plugin_changes import apply_changes
from simcloud.spec.plugin_model import PluginRandomizer
from simcloud.spec.randomizer import (
    ENTRY_POINTS,
    Changes,
    PluginDraws,
    Randomizer,
    RandomizerFrame,
)


@dataclass(frozen=True, slots=True)
class InstalledRandomizer:
    """A randomizer of this environment."""

    entry_point: EntryPoint
    sha256: str
    """Of its source as it was when this process first looked."""

    def load(self) -> Randomizer[Any]:
        """The randomizer itself.

        Raises:
            PreconditionFailed: its module or its class can't be had.
        """
        return load_randomizer(self.entry_point)


@lru_cache(maxsize=64)
def load_randomizer(entry_point: EntryPoint) -> Randomizer[Any]:
    """The randomizer of an entry point, made once in each process.

    Raises:
        PreconditionFailed: its module or its class can't be had.
    """
    try:
        made: Randomizer[Any] = entry_point.load()()
    except Exception as error:
        raise PreconditionFailed(
            f"the randomizer {entry_point.name} ({entry_point.value}) can't be loaded: {error!r}"
        ) from error
    return made


@lru_cache(maxsize=64)
def installed_randomizer(name: str) -> InstalledRandomizer:
    """A randomizer by the name of its entry point.

    Raises:
        PreconditionFailed: none or several of that name are installed, or its source can't be read.
    """
    found = tuple(entry_points(group=ENTRY_POINTS, name=name))
    if not found:
        known = ", ".join(sorted({one.name for one in entry_points(group=ENTRY_POINTS)})) or "none"
        raise PreconditionFailed(
            f"the spec needs the randomizer {name!r}, which is not installed here: install the "
            f"package that has it among its entry points {ENTRY_POINTS!r}; installed: {known}"
        )
    if len({one.value for one in found}) > 1:
        packages = ", ".join(sorted(one.value for one in found))
        raise PreconditionFailed(
            f"the randomizer {name!r} is installed more than once: {packages}; keep one"
        )
    return InstalledRandomizer(found[0], source_sha256(found[0].module))


def source_sha256(module: str) -> str:
    """SHA-256 over every Python file of the package that a module is in; the module isn't run.

    Each file counts as its path, its size in bytes and its content, with a zero byte after the path
    and after the size; in the order of the paths, which are relative to the folder that holds the
    package. A module outside any package is its one file.

    Raises:
        PreconditionFailed: there is no such module, or it has no source file.
    """
    hashed = hashlib.sha256()
    for name, path in _source_files(module):
        content = path.read_bytes()
        hashed.update(f"{name}\0{len(content)}\0".encode() + content)
    return hashed.hexdigest()


def _source_files(module: str) -> list[tuple[str, Path]]:
    found = _outermost(module)
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise PreconditionFailed(f"the module {module} has no source file to be checked")
    origin = Path(found.origin)
    if found.submodule_search_locations is None:
        return [(origin.name, origin)]
    folder = origin.parent
    return sorted(
        (path.relative_to(folder.parent).as_posix(), path) for path in folder.rglob("*.py")
    )


def _outermost(module: str) -> ModuleSpec | None:
    """The regular package or module that a module is in, below namespaces."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        found = importlib.util.find_spec(".".join(parts[:count]))
        if found is None or found.origin is not None:
            return found
    return None


def with_source_digests(spec: Spec) -> Spec:
    """The spec with the SHA-256 of each plug-in's source, as it is installed here, filled in.

    Raises:
        InvalidRequest: the settings of one that is installed here are not what it takes.
        PreconditionFailed: one without a SHA-256 is not installed here.
    """
    plugins = []
    for plugin in spec.randomization.plugins:
        if plugin.sha256:
            plugins.append(plugin)
            continue
        installed = installed_randomizer(plugin.randomizer)
        _settings(plugin, installed.load())
        plugins.append(plugin.model_copy(update={"sha256": installed.sha256}))
    if not plugins:
        return spec
    randomization = spec.randomization.model_copy(update={"plugins": tuple(plugins)})
    return spec.model_copy(update={"randomization": randomization})


def randomized(spec: Spec, parameters: FrameParameters) -> FrameParameters:
    """The frame after all plug-ins; each of them sees it as it was before any.

    Raises:
        InvalidRequest: a plug-in failed, answered what can't be, or two change the same thing.
        PreconditionFailed: one is not installed here, or has another source than the spec says.
    """
    plugins = spec.randomization.plugins
    if not plugins:
        return parameters
    answers = {
        plugin.name: _answer(plugin, spec.seed, parameters)
        for plugin in sorted(plugins, key=lambda one: one.name)
    }
    randomizers = {plugin.name: plugin.randomizer for plugin in plugins}
    return apply_changes(parameters, answers, randomizers=randomizers)


def check_plugins(spec: Spec) -> Iterator[tuple[str, str]]:
    """Every plug-in whose settings are not what it takes, as (field, what is wrong).

    Raises:
        PreconditionFailed: one is not installed here, or has another source than the spec says.
    """
    for plugin in spec.randomization.plugins:
        try:
            _settings(plugin, _honoured(plugin))
        except InvalidRequest as error:
            yield error.field, error.problem


def _honoured(plugin: PluginRandomizer) -> Randomizer[Any]:
    installed = installed_randomizer(plugin.randomizer)
    if plugin.sha256 not in {"", installed.sha256}:
        raise PreconditionFailed(
            f"randomization.plugins[{plugin.name}]: the spec was made with the randomizer "
            f"{plugin.randomizer} of source {plugin.sha256[:12]}, here it is "
            f"{installed.sha256[:12]}: install the same version, or start a new run",
            wanted=plugin.sha256,
            found=installed.sha256,
        )
    return installed.load()


def _settings(plugin: PluginRandomizer, randomizer: Randomizer[Any]) -> Any:
    try:
        return randomizer.settings.model_validate(plugin.settings)
    except ValidationError as error:
        path, words = problems(error)[0]
        field = f"randomization.plugins[{plugin.name}].settings"
        raise InvalidRequest(f"{field}.{path}" if path else field, words) from error


def _answer(plugin: PluginRandomizer, seed: int, parameters: FrameParameters) -> Changes:
    randomizer = _honoured(plugin)
    field = f"randomization.plugins[{plugin.name}]"
    where = f"the randomizer {plugin.randomizer} in frame {parameters.frame}"
    frame = RandomizerFrame(
        frame=parameters.frame,
        # its own dictionary: what it writes there reaches nobody
        parameters=replace(parameters, values=dict(parameters.values)),
        settings=_settings(plugin, randomizer),
        draws=PluginDraws(seed, parameters.frame, plugin.name),
    )
    try:
        changes = randomizer.randomize(frame)
    except SimcloudError as error:
        raise InvalidRequest(field, f"{where}: {error}") from error
    except Exception as error:
        raise InvalidRequest(field, f"{where} raised {error!r}") from error
    if not isinstance(changes, Changes):
        raise InvalidRequest(field, f"{where} answered {type(changes).__name__}, not Changes")
    if set(changes.values) != set(randomizer.values):
        raise InvalidRequest(
            field,
            f"{where} gave the values {sorted(changes.values)}, but every frame must have "
            f"{sorted(randomizer.values)}",
        )
    return changes
