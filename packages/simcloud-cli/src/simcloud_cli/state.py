"""What the options before the command say; set once, by the root of the command tree."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class GlobalOptions:
    """Options that every command has.

    The one mutable state of the CLI, written before any command runs.
    """

    context: str | None = None
    state_dir: str | None = None
    debug: bool = False


options = GlobalOptions()
