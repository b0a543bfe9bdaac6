"""Plug-in randomizers of a spec: which, with what settings, and the source that they must have."""

from __future__ import annotations

from pydantic import Field, JsonValue

from simcloud.spec.base import Name, SpecModel


class PluginRandomizer(SpecModel):
    """Python of yours that changes sampled frames; see the guide to plug-in randomizers."""

    name: Name
    """Names its random bits and its values (`plugin.<name>.<value>`)."""
    randomizer: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
    """Entry point of the group `simcloud.randomizers`, installed where frames are rendered."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Whatever the randomizer's own settings model takes."""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 of its source; filled in when a run is created. Where another source is installed,
    no frame is rendered."""
