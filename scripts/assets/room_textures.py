"""The showroom's floor and wall textures: what each is, how wide it is, how it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from noise import FloatArray, band, mix, pixel_grid, rgb, smoothstep, spectral


@dataclass(frozen=True, slots=True)
class RoomTexture:
    """One square, tiling texture."""

    name: str
    """Of the file and of the material below /World/Looks."""
    width_m: float
    """Physical width, after which it repeats."""
    size_px: int
    roughness: float
    draw: Callable[[np.random.Generator, int, float], FloatArray]
    """From (generator, pixels, metres) to (size, size, 3) display RGB in 0..1."""
    oversampling: int = 1
    """Drawn so many times larger, then averaged: no camera of ours sees a millimetre."""


@dataclass(frozen=True, slots=True)
class Wood:
    """Colours of a timber."""

    light: FloatArray
    dark: FloatArray
    variation: float
    """How much boards differ from each other, 0..1."""


OAK = Wood(light=rgb(205, 170, 126), dark=rgb(150, 112, 74), variation=0.30)
GREY_OAK = Wood(light=rgb(190, 176, 158), dark=rgb(138, 124, 108), variation=0.28)
WALNUT = Wood(light=rgb(122, 84, 58), dark=rgb(66, 42, 28), variation=0.35)


def grain(rng: np.random.Generator, size: int) -> FloatArray:
    """(size, size) in 0..1: fibres and growth rings along the columns' direction."""
    warp = spectral(rng, size, slope=1.6, stretch=(1.0, 7.0))
    rings = 0.5 + 0.5 * np.sin(warp * 7.0)
    fibres = spectral(rng, size, slope=0.55, stretch=(1.0, 26.0))
    pores = np.clip(band(rng, size, cycles=size / 6.0, stretch=(1.0, 22.0)) - 1.4, 0.0, None)
    return np.clip(0.42 + 0.20 * (rings - 0.5) + 0.12 * fibres + 0.16 * pores, 0.0, 1.0)


def _boards(
    wood: Wood,
    rng: np.random.Generator,
    board: np.ndarray,
    gap: FloatArray,
    size: int,
    *,
    upright: np.ndarray | None = None,
) -> FloatArray:
    """Colours boards by their id: each has its own piece of grain and its own tone."""
    along, across = grain(rng, size), grain(rng, size).T
    count = int(board.max()) + 1
    shift = rng.integers(0, size, (count, 2))
    tone = rng.uniform(-0.5, 0.5, count) * wood.variation
    rows, columns = np.indices((size, size))
    rows, columns = (rows + shift[board, 0]) % size, (columns + shift[board, 1]) % size
    share = along[rows, columns]
    if upright is not None:
        share = np.where(upright, across[rows, columns], share)
    color = mix(wood.light, wood.dark, np.clip(share + tone[board], 0.0, 1.0))
    return np.asarray(color * (1.0 - 0.62 * gap[..., None]))


def planks(
    wood: Wood, plank_m: float, joints: int
) -> Callable[[np.random.Generator, int, float], FloatArray]:
    """Straight boards along x, ``joints`` in each row, staggered."""

    def draw(rng: np.random.Generator, size: int, width_m: float) -> FloatArray:
        x, y = pixel_grid(size, width_m)
        rows = round(width_m / plank_m)
        row = np.minimum((y / plank_m).astype(np.int64), rows - 1)
        length = width_m / joints
        # Rows next to each other never have joints at the same place.
        stagger = (np.arange(rows) * 0.382 % 1.0) * length + rng.uniform(0.0, 0.1, rows) * length
        position = (x + stagger[row]) % width_m
        board = row * joints + np.minimum((position / length).astype(np.int64), joints - 1)
        edge = np.minimum(
            np.minimum(y % plank_m, plank_m - y % plank_m),
            np.minimum(position % length, length - position % length),
        )
        pixel = width_m / size
        gap = 1.0 - smoothstep(0.4 * pixel, 1.7 * pixel, edge)
        return _boards(wood, rng, board, gap, size)

    return draw


def herringbone(rng: np.random.Generator, size: int, width_m: float) -> FloatArray:
    """Blocks four times as long as wide, at right angles to each other."""
    ratio = 4
    block = width_m / (2 * ratio)
    x, y = pixel_grid(size, width_m)
    column, row = (x / block).astype(np.int64), (y / block).astype(np.int64)
    # Along each diagonal, ``ratio`` cells of a lying block are followed by ``ratio`` of a standing
    # one; the pattern repeats after 2 * ratio cells in both directions.
    phase = (column - row) % (2 * ratio)
    upright = phase >= ratio
    cells = 2 * ratio
    anchor_column = np.where(upright, column, column - phase) % cells
    anchor_row = np.where(upright, row - (2 * ratio - 1 - phase), row) % cells
    board = (anchor_row * cells + anchor_column) * 2 + upright
    along = np.where(upright, y, x) % block
    across = np.where(upright, x, y) % block
    place = np.where(upright, 2 * ratio - 1 - phase, phase)
    end = np.where(place == 0, along, np.where(place == ratio - 1, block - along, block))
    edge = np.minimum(np.minimum(across, block - across), end)
    pixel = width_m / size
    gap = 1.0 - smoothstep(0.3 * pixel, 1.5 * pixel, edge)
    return _boards(GREY_OAK, rng, board, gap, size, upright=upright)


def tile(rng: np.random.Generator, size: int, width_m: float) -> FloatArray:
    """Two by two light stone tiles with grout."""
    x, y = pixel_grid(size, width_m)
    side = width_m / 2
    number = (y / side).astype(np.int64) * 2 + (x / side).astype(np.int64)
    clouds = spectral(rng, size, slope=1.3)
    veins = np.abs(spectral(rng, size, slope=1.5))
    speckle = band(rng, size, cycles=size / 5.0)
    shade = 0.5 + 0.14 * clouds - 0.10 * np.exp(-veins * 9.0) + 0.02 * speckle
    shade = shade + rng.uniform(-0.08, 0.08, 4)[number]
    color = mix(rgb(176, 172, 164), rgb(222, 219, 212), np.clip(shade, 0.0, 1.0))
    edge = np.minimum(np.minimum(x % side, side - x % side), np.minimum(y % side, side - y % side))
    grout = 1.0 - smoothstep(0.0012, 0.0030, edge)
    return mix(color, np.broadcast_to(rgb(140, 136, 130), color.shape), grout)


def concrete(rng: np.random.Generator, size: int, _width_m: float) -> FloatArray:
    """Trowelled screed: broad clouds, fine sand, a few pits."""
    clouds = spectral(rng, size, slope=1.4)
    sand = spectral(rng, size, slope=0.2)
    pits = smoothstep(2.5, 3.4, band(rng, size, cycles=size / 10.0))
    shade = np.clip(0.5 + 0.13 * clouds + 0.035 * sand - 0.25 * pits, 0.0, 1.0)
    return mix(rgb(118, 116, 112), rgb(184, 181, 175), shade)


def terrazzo(rng: np.random.Generator, size: int, _width_m: float) -> FloatArray:
    """Polished cement with chips of stone in three tones."""
    color = mix(rgb(196, 192, 184), rgb(214, 211, 204), _share(spectral(rng, size, slope=1.2)))
    for tone, cycles in (
        (rgb(122, 116, 108), size / 18.0),
        (rgb(168, 128, 104), size / 22.0),
        (rgb(236, 232, 224), size / 14.0),
    ):
        chips = smoothstep(1.45, 1.6, band(rng, size, cycles=cycles))
        color = mix(color, np.broadcast_to(tone, color.shape), chips)
    return color


def _share(noise: FloatArray) -> FloatArray:
    return np.clip(0.5 + 0.25 * noise, 0.0, 1.0)


def carpet(rng: np.random.Generator, size: int, _width_m: float) -> FloatArray:
    """Short loop pile in a warm grey."""
    loops = band(rng, size, cycles=size / 7.0)
    fibres = spectral(rng, size, slope=0.0)
    clouds = spectral(rng, size, slope=1.5)
    shade = np.clip(0.5 + 0.16 * loops + 0.06 * fibres + 0.03 * clouds, 0.0, 1.0)
    return mix(rgb(96, 90, 86), rgb(176, 168, 158), shade)


def plaster(
    base: FloatArray, *, relief: float
) -> Callable[[np.random.Generator, int, float], FloatArray]:
    """Painted or rendered wall: slight unevenness, roller texture of strength ``relief``."""

    def draw(rng: np.random.Generator, size: int, _width_m: float) -> FloatArray:
        height = spectral(rng, size, slope=1.0)
        # Light from above left makes the relief visible, as raking light does on a real wall.
        slope = height - np.roll(height, (1, 1), axis=(0, 1))
        clouds = spectral(rng, size, slope=1.6)
        factor = 1.0 + relief * slope / slope.std() + 0.012 * clouds
        return np.asarray(np.clip(base * factor[..., None], 0.0, 1.0))

    return draw


def brick(
    light: FloatArray, dark: FloatArray, mortar: FloatArray
) -> Callable[[np.random.Generator, int, float], FloatArray]:
    """Running bond, four bricks wide and twelve courses high."""

    def draw(rng: np.random.Generator, size: int, width_m: float) -> FloatArray:
        columns, courses = 4, 12
        x, y = pixel_grid(size, width_m)
        length, height = width_m / columns, width_m / courses
        course = np.minimum((y / height).astype(np.int64), courses - 1)
        wobble = 0.0016 * spectral(rng, size, slope=1.2)
        position = (x + (course % 2) * length / 2) % width_m
        number = course * columns + np.minimum((position / length).astype(np.int64), columns - 1)
        within_x, within_y = position % length, y % height
        edge = (
            np.minimum(
                np.minimum(within_x, length - within_x), np.minimum(within_y, height - within_y)
            )
            + wobble
        )
        surface = spectral(rng, size, slope=0.8)
        shade = 0.5 + 0.13 * surface + rng.uniform(-0.34, 0.34, columns * courses)[number]
        color = mix(dark, light, np.clip(shade, 0.0, 1.0))
        color = color * (1.0 - 0.18 * (1.0 - smoothstep(0.004, 0.011, edge)))[..., None]
        joint = 1.0 - smoothstep(0.0035, 0.0065, edge)
        sandy = np.clip(mortar * (1.0 + 0.05 * spectral(rng, size, slope=0.3)[..., None]), 0.0, 1.0)
        return mix(color, sandy, joint)

    return draw


def stripes(rng: np.random.Generator, size: int, width_m: float) -> FloatArray:
    """Wallpaper: broad soft stripes with a thin line at each border, on textured paper."""
    x, _ = pixel_grid(size, width_m)
    period = width_m / 4
    place = (x % period) / period
    broad = smoothstep(0.0, 0.01, place) * (1.0 - smoothstep(0.5, 0.51, place))
    color = mix(rgb(226, 220, 206), rgb(190, 199, 196), broad)
    distance = np.minimum(np.abs(place - 0.06), np.abs(place - 0.45))
    color = mix(
        color,
        np.broadcast_to(rgb(150, 160, 158), color.shape),
        0.8 * (1.0 - smoothstep(0.004, 0.010, distance)),
    )
    paper = (
        1.0 + 0.012 * band(rng, size, cycles=size / 4.0) + 0.006 * spectral(rng, size, slope=1.4)
    )
    return np.asarray(np.clip(color * paper[..., None], 0.0, 1.0))


ROOM_TEXTURES: tuple[RoomTexture, ...] = (
    RoomTexture("floor_oak", 1.6, 512, 0.42, planks(OAK, 0.16, 1), oversampling=2),
    RoomTexture("floor_walnut", 1.2, 512, 0.35, planks(WALNUT, 0.12, 1), oversampling=2),
    RoomTexture("floor_herringbone", 0.72, 512, 0.45, herringbone, oversampling=2),
    RoomTexture("floor_tile", 1.2, 512, 0.25, tile, oversampling=2),
    RoomTexture("floor_concrete", 2.4, 1024, 0.55, concrete),
    RoomTexture("floor_carpet", 0.6, 512, 0.95, carpet),
    RoomTexture("floor_terrazzo", 1.2, 512, 0.30, terrazzo),
    RoomTexture("floor_grey_oak", 1.6, 512, 0.50, planks(GREY_OAK, 0.2, 1)),
    RoomTexture("wall_white", 1.5, 512, 0.85, plaster(rgb(236, 234, 228), relief=0.008)),
    RoomTexture("wall_cream", 1.5, 512, 0.88, plaster(rgb(226, 212, 184), relief=0.016)),
    RoomTexture("wall_grey", 2.0, 512, 0.88, plaster(rgb(186, 186, 184), relief=0.016)),
    RoomTexture("wall_sage", 1.5, 512, 0.80, plaster(rgb(164, 178, 156), relief=0.008)),
    RoomTexture("wall_blue", 1.5, 512, 0.80, plaster(rgb(132, 154, 176), relief=0.008)),
    RoomTexture("wall_terracotta", 1.5, 512, 0.85, plaster(rgb(196, 140, 112), relief=0.014)),
    RoomTexture("wall_ochre", 1.5, 256, 0.80, plaster(rgb(206, 172, 104), relief=0.010)),
    RoomTexture("wall_petrol", 1.5, 256, 0.75, plaster(rgb(58, 88, 98), relief=0.010)),
    RoomTexture("wall_rose", 1.5, 256, 0.80, plaster(rgb(206, 176, 170), relief=0.010)),
    RoomTexture(
        "wall_brick",
        0.96,
        512,
        0.9,
        brick(rgb(186, 116, 88), rgb(120, 66, 50), rgb(176, 168, 156)),
        oversampling=2,
    ),
    RoomTexture(
        "wall_white_brick",
        0.96,
        512,
        0.8,
        brick(rgb(238, 236, 230), rgb(216, 213, 206), rgb(204, 200, 192)),
    ),
    RoomTexture("wall_stripes", 0.8, 512, 0.75, stripes),
)
