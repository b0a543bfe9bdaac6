"""The recorded API: how it is read, and what counts as a difference."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from simcloud_generator.backends.isaac.signatures import (
    Class,
    Function,
    installed_mismatches,
    object_mismatches,
    recorded,
)
from support.recorded_api import NotRecorded, make_class, make_function, wrapped

CORE = "omni.replicator.core"


def recorded_function(module: str, name: str) -> Function:
    found = recorded()[module][name]
    assert isinstance(found, Function)
    return found


def test_step_is_recorded_as_replicator_has_it() -> None:
    step = recorded_function(f"{CORE}.orchestrator", "step")
    assert step.whole
    assert [(item.name, item.default) for item in step.parameters] == [
        ("rt_subframes", -1),
        ("pause_timeline", True),
        ("delta_time", None),
        ("wait_for_render", True),
    ]


def test_parameter_that_was_only_seen_in_use_makes_a_record_partial() -> None:
    assert not recorded_function(f"{CORE}.create", "render_product").whole


def test_orchestrators_states_are_recorded_with_their_values() -> None:
    status = recorded()[f"{CORE}.orchestrator"]["Status"]
    assert isinstance(status, Class)
    assert dict(status.members)["STOPPING"] == 4
    assert len(status.members) == 9


def test_stand_in_refuses_names_and_arguments_that_are_not_recorded() -> None:
    step = make_function(recorded_function(f"{CORE}.orchestrator", "step"), "step", lambda **_: 1)
    assert step(delta_time=0.0) == 1
    with pytest.raises(TypeError, match="recorded is"):
        step(subframes=4)
    texture: Any = wrapped(make_class(CORE, "_HydraTexture"), ModuleType("answers"))
    with pytest.raises(NotRecorded, match="set_resolution"):
        texture.set_resolution((1, 1))
    with pytest.raises(NotRecorded, match="cannot be set"):
        texture.size = 1


def test_installation_without_isaac_lacks_every_module() -> None:
    found = installed_mismatches()
    assert any(item.startswith(f"{CORE}.orchestrator: cannot be imported") for item in found)


class Texture:
    """As a later version might have it."""

    path = "/Render/x"

    def destroy(self, force: bool) -> None:
        """Wants more than is recorded."""


def test_returned_object_is_compared_when_it_is_met() -> None:
    assert object_mismatches(Texture(), CORE, "_HydraTexture") == [
        f"{CORE}._HydraTexture.hydra_texture: is not there",
        f"{CORE}._HydraTexture.destroy: wants force, which is not recorded",
    ]
