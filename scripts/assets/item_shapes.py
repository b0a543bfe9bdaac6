"""Shapes of goods in the asset frame: Z up, front to -Y, metres."""

from __future__ import annotations

import numpy as np
from mesh_ops import FloatArray, face_normals
from shapes import Shape, box, lathe


def printed_box(size_m: tuple[float, float, float], bevel_m: float = 0.0008) -> Shape:
    """A box whose faces show the three thirds of one picture: front and back, sides, top.

    Thirds stand side by side; each shows its face upright, as seen from outside.
    """
    half = np.array([size_m[0] / 2, size_m[1] / 2])
    low, high = (-half[0], -half[1], 0.0), (half[0], half[1], size_m[2])
    body = box(low, high, bevel_m=bevel_m)
    normal = face_normals(body.triangles)
    axis = np.abs(normal).argmax(axis=1)
    sign = np.sign(normal[np.arange(len(axis)), axis])[:, None]
    shares = body.triangles / np.array(size_m) + np.array([0.5, 0.5, 0.0])
    x, y, z = shares[..., 0], shares[..., 1], shares[..., 2]
    u = np.select(
        [axis[:, None] == 1, axis[:, None] == 0],
        [np.where(sign < 0, x, 1.0 - x), 1.0 + np.where(sign > 0, y, 1.0 - y)],
        2.0 + x,
    )
    v = np.where(axis[:, None] == 2, y, z)
    # A hair inside each third, so that the neighbour doesn't bleed in.
    third = np.floor(np.clip(u.mean(axis=1, keepdims=True), 0.0, 2.99))
    u = third + np.clip(u - third, 0.006, 0.994)
    return Shape(body.triangles, np.stack([u / 3.0, np.clip(v, 0.004, 0.996)], axis=2))


def turned(profile: list[tuple[float, float]], *, flat: float = 1.0, segments: int = 36) -> Shape:
    """A lathed body, its depth along Y times ``flat``."""
    shape = lathe(profile, segments=segments)
    return Shape(shape.triangles * np.array([1.0, flat, 1.0]), shape.texcoords)


def rounded(
    radius: float, height: float, edge: float, base: float = 0.0
) -> list[tuple[float, float]]:
    """Profile of a closed cylinder from ``base`` up, its rims rounded."""
    corner = [(radius - edge * (1 - np.cos(a)), edge * (1 - np.sin(a))) for a in (1.2, 0.7, 0.3)]
    lower = [(0.0, base), (radius - edge, base)] + [(r, base + z) for r, z in corner]
    upper = [(r, base + height - z) for r, z in corner[::-1]] + [
        (radius - edge, base + height),
        (0.0, base + height),
    ]
    return lower + upper


def pillow(
    rng: np.random.Generator,
    size_m: tuple[float, float, float],
    *,
    puff: float = 0.55,
    seal: float = 0.05,
) -> Shape:
    """A filled bag lying on its back: two skins joined at a flat rim; the picture shows on both."""
    rows, columns = 25, 25
    v, u = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    inner = np.clip((0.5 - np.abs(u - 0.5)) * 2, 0, 1) ** puff
    inner *= np.clip((0.5 - np.abs(v - 0.5) - seal) / (0.5 - seal), 0, 1) ** puff
    creases = np.zeros_like(u)
    for _ in range(7):
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 6.28)
        pitch = rng.uniform(10.0, 26.0)
        creases += np.sin((u * np.cos(angle) + v * np.sin(angle)) * pitch + phase) / 7.0
    thick = size_m[2] / 2 * np.clip(inner * (1.0 + 0.22 * creases), 0.0, 1.0)
    # Filling pulls the rim in between the corners.
    waist = 1.0 - 0.05 * np.sin(np.pi * v)
    x, y = (u - 0.5) * size_m[0] * waist, (v - 0.5) * size_m[1]
    top = np.stack([x, y, size_m[2] / 2 + thick + 0.0004], axis=2)
    bottom = np.stack([x, y, size_m[2] / 2 - thick], axis=2)[:, ::-1]
    uv = np.stack([u, v], axis=2)
    skins = [_grid(top, uv), _grid(bottom, uv[:, ::-1])]
    return Shape(
        np.concatenate([skin.triangles for skin in skins]),
        np.concatenate([skin.texcoords for skin in skins]),
    )


def squeezed_tube(radius: float, length: float) -> Shape:
    """A tube standing on its cap: round below, flat and crimped above."""
    rows, columns = 18, 32
    share, turn = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : (columns + 1) * 1j]
    turn[:, -1] = 0.0
    angle = turn * 2 * np.pi - np.pi / 2
    flat = share**1.3
    half_x = radius * (1.0 + 0.45 * flat)
    half_y = np.maximum(radius * (1.0 - flat), 0.0009)
    points = np.stack([np.cos(angle) * half_x, np.sin(angle) * half_y, share * length], axis=2)
    u = np.broadcast_to(np.linspace(0.0, 2.0, columns + 1), share.shape)
    return _grid(points, np.stack([u, share], axis=2))


def dome(size_m: tuple[float, float], height_m: float, *, power: float = 4.0) -> Shape:
    """A blister: a rounded box without a bottom, on z = 0."""
    v, u = np.mgrid[-1:1:17j, -1:1:17j]
    rise = (np.clip(1 - np.abs(u) ** power, 0, 1) * np.clip(1 - np.abs(v) ** power, 0, 1)) ** 0.6
    points = np.stack([u * size_m[0] / 2, v * size_m[1] / 2, rise * height_m], axis=2)
    return _grid(points, np.stack([(u + 1) / 2, (v + 1) / 2], axis=2))


def sheet(points: FloatArray, repeat_m: float) -> Shape:
    """A surface over (rows, columns, 3) points; texture repeats along its edges' lengths."""
    across = np.linalg.norm(np.diff(points, axis=1), axis=2).mean(axis=0)
    down = np.linalg.norm(np.diff(points, axis=0), axis=2).mean(axis=1)
    u, v = np.r_[0.0, np.cumsum(across)], np.r_[0.0, np.cumsum(down)]
    uv = np.stack(np.broadcast_arrays(u[None, :], v[:, None]), axis=2) / repeat_m
    return _grid(points, uv)


def _grid(points: FloatArray, texcoords: FloatArray) -> Shape:
    """Two triangles a cell of (rows, columns, ...) points; counter-clockwise as u turns to v."""
    triangles: list[FloatArray] = []
    coordinates: list[FloatArray] = []
    for values, target in ((points, triangles), (texcoords, coordinates)):
        a, b, c, d = values[:-1, :-1], values[:-1, 1:], values[1:, 1:], values[1:, :-1]
        for corners in ((a, b, c), (a, c, d)):
            target.append(np.stack(corners, axis=2).reshape(-1, 3, values.shape[2]))
    joined = np.concatenate(triangles)
    proper = np.linalg.norm(face_normals(joined), axis=1) > 1e-12
    return Shape(joined[proper], np.concatenate(coordinates)[proper])
