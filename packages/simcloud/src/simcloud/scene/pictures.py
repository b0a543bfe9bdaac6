"""Pictures that surfaces are covered with: which kinds, how large."""

from __future__ import annotations

from simcloud.errors import InvalidRequest
from simcloud.scene.files import read_file
from simcloud.scene.image_header import ImageHeader, read_header
from simcloud.scene.limits import SceneLimits

SURFACE_KINDS = frozenset({"png", "jpeg", "bmp", "tiff", "webp"})
ENVIRONMENT_KINDS = SURFACE_KINDS | {"exr", "hdr"}
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Names that pictures of a folder end with, in any case."""


def checked_header(
    path: str, where: str, limits: SceneLimits, *, environment: bool = False
) -> ImageHeader:
    """The header of a picture that can be drawn.

    Args:
        path: of the file.
        where: what names it, for messages.
        limits: bounds.
        environment: whether it lights the scene rather than covers a surface.

    Raises:
        InvalidRequest: it can't be drawn.
    """
    try:
        header = read_header(read_file(path))
    except ValueError as error:
        raise InvalidRequest("scene", f"{where}: {error}") from error
    kinds = ENVIRONMENT_KINDS if environment else SURFACE_KINDS
    if header.kind not in kinds:
        raise InvalidRequest(
            "scene", f"{where}, of kind {header.kind}: surfaces take {', '.join(sorted(kinds))}"
        )
    if header.pixels > limits.max_texture_px:
        raise InvalidRequest(
            "scene",
            f"{where}, which is {header.width_px}x{header.height_px}: at most "
            f"{limits.max_texture_px} pixels are taken (scene_limits.max_texture_px): make it "
            "smaller, or raise the limit",
        )
    return header
