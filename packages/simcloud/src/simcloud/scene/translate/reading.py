"""What a reading of a stage gathers beside the scene itself: what was odd, what was wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simcloud.errors import InvalidRequest
from simcloud.scene.files import outer_path

SHOWN_PROBLEMS = 20
"""Problems that one message lists."""


@dataclass(frozen=True, slots=True)
class TextureUse:
    """A picture that the stage names."""

    path: str
    """Absolute; ``package.usdz[file]`` for what lies inside a package."""
    prim: str
    """First prim that names it."""
    environment: bool
    """Whether it lights the scene rather than covers a surface."""


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What a stage says of itself."""

    up_axis: str
    metres_per_unit: float
    default_prim: str
    """Its path; empty without one."""
    layers: tuple[str, ...]
    """Absolute paths of the files that it is composed of, packages once, ordered."""


@dataclass(slots=True)
class Reading:
    """Notes of one reading.

    Args:
        root: folder that every file must lie below; None: anywhere.
    """

    root: Path | None = None
    warnings: set[str] = field(default_factory=set)
    """``<prim path>: <what>``: drawn, but not as written."""
    problems: dict[str, None] = field(default_factory=dict)
    """What makes the scene unusable, in the order in which it was met, each once."""
    textures: dict[str, TextureUse] = field(default_factory=dict)
    """By path."""
    facts: StageFacts | None = None
    """None until the stage has been opened."""

    def warn(self, prim: Any, what: str) -> None:
        """Notes what was not understood; the same thing counts once."""
        self.warnings.add(f"{prim.GetPath()}: {what}")

    def problem(self, error: InvalidRequest | str) -> None:
        """Notes what is broken; reading goes on, so that all of it can be told at once."""
        self.problems[error.problem if isinstance(error, InvalidRequest) else error] = None

    def raise_problems(self) -> None:
        """Returns when nothing was broken.

        Raises:
            InvalidRequest: something was; up to ``SHOWN_PROBLEMS`` of it is listed.
        """
        if self.problems:
            raise InvalidRequest("scene", listed(list(self.problems)))


def stage_facts(stage: Any) -> StageFacts:
    """What a stage says of itself."""
    from pxr import UsdGeom

    default = stage.GetDefaultPrim()
    files = {outer_path(str(la.realPath)) for la in stage.GetUsedLayers() if not la.anonymous}
    return StageFacts(
        up_axis=str(UsdGeom.GetStageUpAxis(stage)),
        metres_per_unit=float(UsdGeom.GetStageMetersPerUnit(stage)),
        default_prim=str(default.GetPath()) if default else "",
        layers=tuple(sorted(str(file.resolve()) for file in files)),
    )


def listed(problems: list[str]) -> str:
    """Problems in one line, with how many more there are."""
    more = len(problems) - SHOWN_PROBLEMS
    told = "; ".join(problems[:SHOWN_PROBLEMS])
    return f"{told}; and {more} more" if more > 0 else told
