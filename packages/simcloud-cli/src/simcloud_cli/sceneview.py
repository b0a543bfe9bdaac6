"""An inspected scene as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simcloud.scene.inspected import SceneInspection
from simcloud_cli.output import console, human_bytes, print_table

_ROWS = 20
"""Rows of one table; --json has all of them."""


def print_inspection(found: SceneInspection) -> None:
    """Prints what was understood, then what wasn't, then what is wrong."""
    if found.up_axis:
        _print_summary(found)
        _print_lists(found)
    out = console()
    _print_lines("drawn otherwise than written", found.unsupported)
    _print_lines("probably not meant", found.hints)
    _print_lines("must be mended", found.problems)
    if not found.problems:
        out.print("this scene can be rendered", markup=False)


def _print_summary(found: SceneInspection) -> None:
    size = _metres(found.size_m) if found.size_m else "-"
    print_table(
        "",
        ["up", "unit m", "default prim", "size m", "triangles", "meshes", "files", "bytes"],
        [
            (
                found.up_axis,
                f"{found.metres_per_unit:g}",
                found.default_prim or "none",
                size,
                found.triangles,
                found.meshes,
                found.files,
                human_bytes(found.total_bytes),
            )
        ],
    )


def _print_lists(found: SceneInspection) -> None:
    _table("labels", ["class", "objects"], sorted(found.labels.items()))
    _table(
        "library",
        ["asset", "class", "size m", "placement", "triangles"],
        [
            (item.name, item.label, _metres(item.size_m), item.placement, item.triangles)
            for item in found.assets
        ],
    )
    _table("environments", ["name"], [(name,) for name in found.environments])
    _table("backgrounds", ["name"], [(name,) for name in found.backgrounds])
    _table(
        "lights",
        ["prim", "kind", "strength"],
        [(i.path, i.kind, ", ".join(f"{v:.4g}" for v in i.strength)) for i in found.lights],
    )
    _table(
        "cameras",
        ["prim", "horizontal deg", "vertical deg", "at m"],
        [
            (
                item.path,
                f"{item.horizontal_fov_deg:.1f}",
                f"{item.vertical_fov_deg:.1f}",
                ", ".join(f"{v:.2f}" for v in item.position_m),
            )
            for item in found.cameras
        ],
    )
    _table("materials", ["prim"], [(path,) for path in found.materials])
    _table(
        "textures",
        ["file", "kind", "px", "bytes"],
        [
            (
                item.path,
                item.kind,
                f"{item.width_px}x{item.height_px}",
                human_bytes(item.size_bytes),
            )
            for item in found.textures
        ],
    )


def _metres(size: Sequence[float]) -> str:
    return " x ".join(f"{value:.3g}" for value in size)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if not rows:
        return
    console().print()
    print_table(f"{title} ({len(rows)})", columns, rows[:_ROWS])
    if len(rows) > _ROWS:
        console().print(f"... and {len(rows) - _ROWS} more; --json lists all", markup=False)


def _print_lines(title: str, lines: Iterable[str]) -> None:
    told = list(lines)
    if not told:
        return
    out = console()
    out.print()
    out.print(f"[bold]{title}[/] ({len(told)})")
    for line in told[:_ROWS]:
        out.print(f"  {line}", markup=False)
    if len(told) > _ROWS:
        out.print(f"  ... and {len(told) - _ROWS} more; --json lists all", markup=False)
