"""Printed surfaces of goods: labels, covers and cards, without any maker's name.

Pictures are (H, W, 3) display RGB in 0..1, rows from the top. Words are kinds of goods, bars are no
code of anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from mesh_ops import FloatArray
from noise import rgb, smoothstep, spectral

KRAFT = rgb(176, 136, 92)
WHITE = rgb(240, 238, 232)
INK = rgb(34, 32, 36)


@dataclass(frozen=True, slots=True)
class Design:
    """What a printed thing looks like."""

    title: str
    ground: FloatArray
    accent: FloatArray
    style: str = "band"
    """``band``, ``disc``, ``waves``, ``stripes``, ``split`` or ``plain``."""


def sheet(width: int, height: int, color: FloatArray) -> FloatArray:
    """One colour."""
    return np.broadcast_to(color, (height, width, 3)).copy()


def front(rng: np.random.Generator, design: Design, width: int, height: int) -> FloatArray:
    """The side that sells: a figure, the title, a few lines of small print."""
    picture = sheet(width, height, design.ground)
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    _figure(picture, design, x, y)
    _title(picture, design)
    lines = int(rng.integers(2, 5))
    for index in range(lines):
        _print(picture, rng, (0.10, 0.86 + 0.03 * index), 0.5, design.accent)
    return _worn(rng, picture)


def back(rng: np.random.Generator, design: Design, width: int, height: int) -> FloatArray:
    """The side nobody reads: small print and bars in a white field."""
    picture = sheet(width, height, design.ground * 0.92 + 0.04)
    for index in range(9):
        _print(picture, rng, (0.10, 0.08 + 0.045 * index), 0.75, _contrast(design.ground))
    bars(picture, rng, (0.14, 0.60, 0.86, 0.90))
    return _worn(rng, picture)


def kraft(rng: np.random.Generator, width: int, height: int, *, label: bool) -> FloatArray:
    """Corrugated board, with an address label when asked for."""
    size = max(width, height)
    fibres = spectral(rng, size, slope=0.5, stretch=(1.0, 4.0))[:height, :width]
    clouds = spectral(rng, size, slope=1.3)[:height, :width]
    picture = np.clip(KRAFT * (1.0 + 0.05 * fibres + 0.04 * clouds)[..., None], 0.0, 1.0)
    tape = slice(int(height * 0.44), int(height * 0.56))
    if label:
        x0, y0 = int(width * 0.45), int(height * 0.15)
        picture[y0 : int(height * 0.62), x0 : int(width * 0.93)] = WHITE
        for index in range(4):
            _print(picture, rng, (0.48, 0.20 + 0.05 * index), 0.40, INK)
        bars(picture, rng, (0.48, 0.42, 0.90, 0.59))
        _arrows(picture)
    else:
        picture[tape] = picture[tape] * 0.78 + np.array([0.62, 0.47, 0.30]) * 0.22
    return picture


def cloth(rng: np.random.Generator, size: int, color: FloatArray) -> FloatArray:
    """Woven nylon: fine threads with a coarser grid of ripstop."""
    axis = np.arange(size)
    warp = 0.5 + 0.5 * np.cos(axis * 2 * np.pi / 4.0)
    weave = np.where((axis[:, None] // 2 + axis[None, :] // 2) % 2, warp[:, None], warp[None, :])
    grid = (axis % 32 < 2).astype(np.float64)
    ripstop = np.maximum(grid[:, None], grid[None, :])
    clouds = spectral(rng, size, slope=1.2)
    level = 0.90 + 0.10 * weave - 0.10 * ripstop + 0.035 * clouds
    return np.asarray(np.clip(color * level[..., None], 0.0, 1.0))


def elastic(rng: np.random.Generator, size: int) -> FloatArray:
    """A woven band: ribs along it, a line of stitches near both edges."""
    y, x = np.mgrid[0:size, 0:size] / size
    ribs = 0.5 + 0.5 * np.cos(y * 2 * np.pi * 14)
    stitches = ((np.abs(y - 0.12) < 0.02) | (np.abs(y - 0.88) < 0.02)) & ((x * 24) % 1.0 < 0.6)
    level = 0.16 + 0.10 * ribs + 0.02 * spectral(rng, size, slope=0.5)
    picture = np.repeat(level[..., None], 3, axis=2)
    picture[stitches] = 0.5
    return np.asarray(np.clip(picture, 0.0, 1.0))


def bars(
    picture: FloatArray, rng: np.random.Generator, field: tuple[float, float, float, float]
) -> None:
    """Bars of random widths in a white field (left, top, right, bottom as shares)."""
    height, width = picture.shape[:2]
    x0, x1 = int(field[0] * width), int(field[2] * width)
    y0, y1 = int(field[1] * height), int(field[3] * height)
    picture[y0:y1, x0:x1] = WHITE
    margin = max(2, (x1 - x0) // 12)
    at, dark = x0 + margin, True
    while at < x1 - margin:
        step = int(rng.integers(1, 4))
        if dark:
            picture[y0 + 2 : y1 - max(3, (y1 - y0) // 7), at : min(at + step, x1 - margin)] = INK
        at, dark = at + step, not dark


def _figure(picture: FloatArray, design: Design, x: FloatArray, y: FloatArray) -> None:
    match design.style:
        case "band":
            chosen = (y > 0.32) & (y < 0.66)
        case "disc":
            chosen = np.hypot((x - 0.5) * picture.shape[1] / picture.shape[0], y - 0.56) < 0.26
        case "waves":
            chosen = y > 0.58 + 0.06 * np.sin(x * 9.0)
        case "stripes":
            chosen = ((x + y) * 5.0) % 1.0 < 0.45
        case "split":
            chosen = x + 0.35 * y > 0.72
        case _:
            chosen = np.zeros(x.shape, np.bool_)
    picture[chosen] = design.accent
    if design.style == "disc":
        inner = np.hypot((x - 0.5) * picture.shape[1] / picture.shape[0], y - 0.56) < 0.19
        picture[inner] = design.accent * 0.5 + 0.45


def _title(picture: FloatArray, design: Design) -> None:
    height, width = picture.shape[:2]
    if not design.title:
        return
    canvas = np.zeros((height, width), np.uint8)
    scale = 1.0
    (span, tall), _ = cv2.getTextSize(design.title, cv2.FONT_HERSHEY_DUPLEX, scale, 2)
    scale = min(0.82 * width / span, 0.15 * height / tall)
    thick = max(1, round(2.2 * scale))
    (span, tall), _ = cv2.getTextSize(design.title, cv2.FONT_HERSHEY_DUPLEX, scale, thick)
    at = ((width - span) // 2, int(0.10 * height) + tall)
    cv2.putText(canvas, design.title, at, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thick, cv2.LINE_AA)
    share = canvas.astype(np.float64)[..., None] / 255.0
    ink = WHITE if design.ground.mean() < 0.55 else INK
    picture += (ink - picture) * share


def _print(
    picture: FloatArray,
    rng: np.random.Generator,
    at: tuple[float, float],
    length: float,
    ink: FloatArray,
) -> None:
    """A line of unreadably small words."""
    height, width = picture.shape[:2]
    y, thick = int(at[1] * height), max(1, round(0.012 * height))
    x, end = int(at[0] * width), int((at[0] + length * rng.uniform(0.6, 1.0)) * width)
    while x < end:
        word = int(rng.integers(3, 12) * width / 256) + 1
        patch = picture[y : y + thick, x : min(x + word, end)]
        patch += (ink - patch) * 0.75
        x += word + max(1, width // 100)


def _arrows(picture: FloatArray) -> None:
    """Two arrows that say which side is up."""
    height, width = picture.shape[:2]
    canvas = np.zeros((height, width), np.uint8)
    for share in (0.12, 0.24):
        x = int(share * width)
        cv2.arrowedLine(
            canvas, (x, int(0.6 * height)), (x, int(0.3 * height)), 255, 2, cv2.LINE_AA, 0, 0.35
        )
    picture[canvas > 100] = INK


def _contrast(ground: FloatArray) -> FloatArray:
    return WHITE if float(ground.mean()) < 0.5 else INK


def _worn(rng: np.random.Generator, picture: FloatArray) -> FloatArray:
    """Edges rubbed a little lighter, and the unevenness of print."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    edge = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    rub = 0.10 * (1.0 - smoothstep(0.0, 3.0, edge))
    tone = 1.0 + 0.015 * spectral(rng, max(height, width), slope=1.0)[:height, :width]
    return np.asarray(np.clip(picture * tone[..., None] + rub[..., None], 0.0, 1.0))
