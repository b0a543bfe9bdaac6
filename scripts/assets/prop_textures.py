"""Textures of our own props; each takes a generator and returns (H, W, 3) display RGB in 0..1."""

from __future__ import annotations

import numpy as np
from noise import FloatArray, band, mix, rgb, smoothstep, spectral
from room_textures import OAK, WALNUT, Wood, grain

SIZE_PX = 512


def wood(timber: Wood, rng: np.random.Generator) -> FloatArray:
    """A sheet of veneer whose grain runs along U."""
    return mix(timber.light, timber.dark, grain(rng, SIZE_PX))


def walnut(rng: np.random.Generator) -> FloatArray:
    """Dark veneer."""
    return wood(WALNUT, rng)


def oak(rng: np.random.Generator) -> FloatArray:
    """Light veneer."""
    return wood(OAK, rng)


def _weave(rng: np.random.Generator, color: FloatArray) -> FloatArray:
    pile = 1.0 + 0.07 * band(rng, SIZE_PX, cycles=SIZE_PX / 4.0)
    clouds = 1.0 + 0.03 * spectral(rng, SIZE_PX, slope=1.4)
    return np.asarray(np.clip(color * (pile * clouds)[..., None], 0.0, 1.0))


def _uv() -> tuple[FloatArray, FloatArray]:
    axis = (np.arange(SIZE_PX) + 0.5) / SIZE_PX
    u, v = np.meshgrid(axis, axis)
    return u, v


def rug_medallion(rng: np.random.Generator) -> FloatArray:
    """Borders, a lozenge in the middle and small repeated figures, in reds and blues."""
    u, v = _uv()
    edge = np.minimum(np.minimum(u, 1.0 - u) * 1.5, np.minimum(v, 1.0 - v))
    red, blue, cream, gold = (
        rgb(128, 36, 34),
        rgb(34, 44, 78),
        rgb(214, 196, 160),
        rgb(170, 124, 60),
    )
    color = np.broadcast_to(red, (SIZE_PX, SIZE_PX, 3)).copy()
    figures = np.sin(u * 2 * np.pi * 18) * np.sin(v * 2 * np.pi * 12)
    color[figures > 0.62] = gold
    color[figures < -0.72] = blue
    lozenge = np.abs(u - 0.5) / 0.30 + np.abs(v - 0.5) / 0.34
    rings = np.cos(lozenge * 2 * np.pi * 3)
    color[lozenge < 1.0] = blue
    color[(lozenge < 1.0) & (rings > 0.4)] = cream
    color[(lozenge < 1.0) & (rings < -0.75)] = red
    color[lozenge < 0.18] = gold
    color[edge < 0.135] = blue
    chain = np.sin(u * 2 * np.pi * 30) * np.sin(v * 2 * np.pi * 20)
    color[(edge < 0.115) & (edge > 0.045) & (chain > 0.3)] = cream
    color[(edge < 0.135) & (edge > 0.123)] = gold
    color[edge < 0.03] = cream
    return _weave(rng, color)


def rug_stripes(rng: np.random.Generator) -> FloatArray:
    """Uneven cross stripes in greys, ochre and off-white."""
    _, v = _uv()
    palette = np.array([rgb(210, 202, 188), rgb(120, 122, 124), rgb(186, 142, 76), rgb(74, 82, 92)])
    edges = np.sort(rng.uniform(0.02, 0.98, 17))
    number = np.searchsorted(edges, v)
    pick = rng.permutation(np.arange(18) % 4)
    return _weave(rng, palette[pick[number]])


def rug_border(rng: np.random.Generator) -> FloatArray:
    """A plain field with a darker border."""
    u, v = _uv()
    edge = np.minimum(np.minimum(u, 1.0 - u) * 1.5, np.minimum(v, 1.0 - v))
    inside = smoothstep(0.070, 0.074, edge)
    color = mix(
        np.broadcast_to(rgb(86, 98, 96), (*u.shape, 3)),
        np.broadcast_to(rgb(168, 174, 166), (*u.shape, 3)),
        inside,
    )
    return _weave(rng, color)


def cardboard(rng: np.random.Generator) -> FloatArray:
    """Brown kraft paper with the flutes faintly visible."""
    _, v = _uv()
    flutes = 0.06 * np.sin(v * 2 * np.pi * 64)
    fibres = 0.16 * spectral(rng, SIZE_PX, slope=0.5, stretch=(1.0, 4.0))
    clouds = 0.10 * spectral(rng, SIZE_PX, slope=1.4)
    shade = np.clip(0.5 + flutes + fibres + clouds, 0.0, 1.0)
    return mix(rgb(158, 116, 76), rgb(196, 154, 108), shade)


def beach_ball(_rng: np.random.Generator) -> FloatArray:
    """Six coloured panels that meet at the poles."""
    u, v = _uv()
    palette = np.array([rgb(204, 42, 40), rgb(240, 238, 230), rgb(32, 84, 160)] * 2)
    place = u * 6.0
    color = palette[np.minimum(place.astype(np.int64), 5)]
    seam = np.minimum(place % 1.0, 1.0 - place % 1.0)
    color = color * (1.0 - 0.35 * (1.0 - smoothstep(0.0, 0.02, seam)))[..., None]
    color[(v < 0.05) | (v > 0.95)] = rgb(240, 238, 230)
    return np.asarray(color)


def art_landscape(rng: np.random.Generator) -> FloatArray:
    """Layered hills under a pale sky."""
    u, v = _uv()
    color = mix(
        np.broadcast_to(rgb(226, 190, 150), (*u.shape, 3)),
        np.broadcast_to(rgb(132, 170, 196), (*u.shape, 3)),
        smoothstep(0.0, 0.7, 1.0 - v),
    )
    sun = np.hypot(u - 0.68, v - 0.27)
    color = mix(
        color, np.broadcast_to(rgb(250, 232, 190), color.shape), 1 - smoothstep(0.06, 0.075, sun)
    )
    for layer in range(5):
        ridge = spectral(rng, SIZE_PX, slope=1.7)[0]
        ridge = (ridge - ridge.mean()) / ridge.std()
        line = 0.40 + 0.12 * layer + 0.045 * ridge
        tone = mix(rgb(120, 142, 150), rgb(34, 58, 44), np.array([layer / 4.0]))[0]
        color[v > line[None, :]] = tone
    return _canvas(rng, color)


def art_shapes(rng: np.random.Generator) -> FloatArray:
    """Overlapping discs and bars."""
    u, v = _uv()
    color = np.broadcast_to(rgb(232, 226, 212), (*u.shape, 3)).copy()
    palette = [
        rgb(190, 74, 48),
        rgb(36, 66, 92),
        rgb(214, 164, 66),
        rgb(88, 116, 96),
        rgb(40, 38, 38),
    ]
    for tone in palette:
        x, y, radius = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.8), rng.uniform(0.10, 0.24)
        color[np.hypot(u - x, v - y) < radius] = tone
    for tone in palette[1:4]:
        x, width = rng.uniform(0.15, 0.85), rng.uniform(0.01, 0.05)
        color[(np.abs(u - x) < width) & (v > rng.uniform(0.1, 0.5))] = tone
    return _canvas(rng, color)


def art_field(rng: np.random.Generator) -> FloatArray:
    """Two soft-edged fields of colour, one above the other."""
    u, v = _uv()
    color = np.broadcast_to(rgb(120, 44, 34), (*u.shape, 3))
    wobble = 0.012 * spectral(rng, SIZE_PX, slope=1.2)
    side = smoothstep(0.07, 0.12, np.minimum(u, 1.0 - u) + wobble)
    for low, high, tone in ((0.08, 0.52, rgb(214, 128, 46)), (0.58, 0.92, rgb(62, 34, 54))):
        inside = smoothstep(low, low + 0.04, v + wobble) * (
            1 - smoothstep(high - 0.04, high, v + wobble)
        )
        color = mix(color, np.broadcast_to(tone, color.shape), inside * side)
    return _canvas(rng, np.array(color))


def _canvas(rng: np.random.Generator, color: FloatArray) -> FloatArray:
    brush = 1.0 + 0.035 * spectral(rng, SIZE_PX, slope=0.6, stretch=(3.0, 1.0))
    return np.asarray(np.clip(color * brush[..., None], 0.0, 1.0))


def art_botanic(rng: np.random.Generator) -> FloatArray:
    """A pressed sprig: a curved stem with pairs of leaves on pale paper."""
    u, v = _uv()
    color = np.broadcast_to(rgb(236, 230, 214), (*u.shape, 3)).copy()
    stem = 0.5 + 0.06 * np.sin(2.2 * (1.0 - v))
    color[(np.abs(u - stem) < 0.004) & (v > 0.16) & (v < 0.92)] = rgb(86, 92, 58)
    for index in range(9):
        height = 0.86 - 0.075 * index
        middle = 0.5 + 0.06 * np.sin(2.2 * (1.0 - height))
        length = 0.20 - 0.013 * index + rng.uniform(-0.015, 0.015)
        for side in (-1.0, 1.0):
            angle = np.radians(rng.uniform(28, 44))
            x, y = (u - middle) * side, height - v
            along = (x * np.cos(angle) + y * np.sin(angle)) / length
            across = (-x * np.sin(angle) + y * np.cos(angle)) / (0.22 * length)
            leaf = (along - 0.5) ** 2 * 4 + across**2 < 1.0
            vein = np.abs(across) < 0.07
            tone = mix(rgb(74, 98, 62), rgb(120, 138, 86), np.array([rng.uniform(0, 1)]))[0]
            color[leaf] = tone
            color[leaf & vein] = tone * 0.78
    return _canvas(rng, color)


def art_waves(rng: np.random.Generator) -> FloatArray:
    """Bands of ink that run in waves, dark at the bottom."""
    u, v = _uv()
    height = v + 0.05 * np.sin(2 * np.pi * (1.3 * u + 0.2)) + 0.02 * np.sin(2 * np.pi * 3.1 * u)
    height = height + 0.012 * spectral(rng, SIZE_PX, slope=1.4)
    bands = np.clip(np.floor(height * 9), 0, 8) / 8
    inside = 0.5 + 0.5 * np.cos(2 * np.pi * height * 9)
    color = mix(rgb(224, 226, 222), rgb(28, 52, 84), np.clip(bands - 0.12 * inside, 0, 1))
    return _canvas(rng, color)


def weave(rng: np.random.Generator) -> FloatArray:
    """Strands of rush, over and under each other."""
    u, v = _uv()
    rows, columns = 16, 12
    row, column = np.floor(v * rows), np.floor(u * columns)
    over = (row + column) % 2 == 0
    across = np.where(over, (v * rows) % 1.0, (u * columns) % 1.0)
    bulge = np.sin(np.pi * across) ** 0.6
    tone = rng.normal(0, 0.08, (rows, columns))[row.astype(np.int64), column.astype(np.int64)]
    fibres = 0.06 * spectral(rng, SIZE_PX, slope=0.4, stretch=(1.0, 6.0))
    shade = np.clip(0.15 + 0.7 * bulge + tone + fibres, 0.0, 1.0)
    return mix(rgb(88, 62, 36), rgb(198, 162, 112), shade)


def knit(rng: np.random.Generator) -> FloatArray:
    """Thick plain knitting: columns of V-shaped stitches."""
    u, v = _uv()
    columns, rows = 20, 22
    place = (u * columns) % 1.0
    lean = np.abs(place - 0.5) * 1.4
    stitch = (v * rows + lean) % 1.0
    bulge = np.sin(np.pi * stitch) ** 0.7 * (0.35 + 0.65 * np.sin(np.pi * ((2 * place) % 1.0)))
    fibres = 0.06 * spectral(rng, SIZE_PX, slope=0.3)
    shade = np.clip(0.2 + 0.75 * bulge + fibres, 0.0, 1.0)
    return mix(rgb(112, 104, 98), rgb(214, 206, 196), shade)


def linen(rng: np.random.Generator) -> FloatArray:
    """Pale woven cloth of a lampshade."""
    warp = spectral(rng, SIZE_PX, slope=0.4, stretch=(1.0, 18.0))
    weft = spectral(rng, SIZE_PX, slope=0.4, stretch=(18.0, 1.0))
    shade = np.clip(0.6 + 0.10 * warp + 0.10 * weft, 0.0, 1.0)
    return mix(rgb(196, 184, 160), rgb(238, 230, 212), shade)


def woven_cloth(rng: np.random.Generator) -> FloatArray:
    """Coarse upholstery: rows of thick yarn, each stitch with its own tone."""
    u, v = _uv()
    rows, columns = 48, 64
    row, column = (v * rows).astype(np.int64) % rows, (u * columns).astype(np.int64) % columns
    # Every other row is shifted by half a stitch.
    across = (u * columns + 0.5 * (row % 2)) % 1.0
    bulge = np.sin(np.pi * across) ** 0.5 * np.sin(np.pi * ((v * rows) % 1.0)) ** 0.5
    tone = rng.normal(0.0, 0.09, (rows, columns))[row, column]
    fibres = 0.07 * spectral(rng, SIZE_PX, slope=0.3, stretch=(1.0, 3.0))
    shade = np.clip(0.22 + 0.62 * bulge + tone + fibres, 0.0, 1.0)
    return mix(rgb(112, 104, 92), rgb(204, 198, 184), shade)
