"""One composite picture: objects shaded at their pixels' centres, at edges at two more places."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simcloud.geometry import Float64, matrix4
from simcloud.spec.parameters import BackgroundView, CameraView
from simcloud_generator.backends.compositing.background import contact_shadow, window
from simcloud_generator.backends.compositing.light import Light
from simcloud_generator.backends.compositing.shade import shade
from simcloud_generator.backends.compositing.surface import SurfaceReader
from simcloud_generator.backends.compositing.texels import Texels
from simcloud_generator.backends.frame_scene import FrameScene
from simcloud_generator.backends.hits import Hits
from simcloud_generator.backends.images import Float32Array, UInt8Array, srgb_to_linear
from simcloud_generator.backends.tracing import Tracer, ViewTrace

EDGE_OFFSETS = ((0.2, 0.3), (0.8, 0.7))
"""Places within an edge's pixel that are mixed with its centre. Edges are a fifth of a room's
object pixels: each place costs as much as all the rest of their shading."""

DEPTH_EDGE = 0.03
"""Relative jump of depth within one object that counts as an edge."""

KEY = 0.20
"""Geometric mean of the exposed objects' luminance."""

REFERENCE_ALBEDO = 0.4
"""Of the surface that is matched with the background's mean: things are neither white nor black."""

DARKEST = 1e-4
_STEPS = 4095
_LINEAR = srgb_to_linear(np.arange(256) / 255.0).astype(np.float32)


def compose(
    *,
    frame: FrameScene,
    camera: CameraView,
    trace: ViewTrace,
    tracer: Tracer,
    texels: Texels,
    light: Light,
    view: BackgroundView,
    picture: UInt8Array,
) -> UInt8Array:
    """The picture of one camera, uint8 sRGB (H, W, 3).

    Args:
        frame: the objects, without the stage's own geometry.
        camera: where from.
        trace: rays through the pixels' centres.
        tracer: that traced them; traces the edges.
        texels: textures.
        light: of the frame.
        view: what of the background is shown.
        picture: the background, uint8 sRGB (H, W, 3 or more).
    """
    behind = window(picture, view, (camera.width, camera.height))
    result = behind.reshape(-1, 3).copy()
    if view.shadow > 0:
        dark = contact_shadow(frame, camera, view.shadow).ravel()
        at = np.flatnonzero(dark < 1.0)
        result[at] = _encoded(_LINEAR[result[at]] * dark[at, None])
    seen = trace.hits.group >= 0
    if not seen.any():
        return result.reshape(behind.shape)
    eye = matrix4(camera.cam2world)[:3, 3]
    reader = SurfaceReader(frame=frame, eye=eye, texels=texels)
    edges = np.flatnonzero(_edges(trace.hits, camera))
    uncovered = _LINEAR[result[edges]]
    inside = np.flatnonzero(seen)
    surfaces = reader.read(trace.hits, trace.directions.reshape(-1, 3), inside)
    radiance, irradiance = shade(surfaces, light)
    gain = _gain(radiance, irradiance, behind, camera.exposure_ev, view.harmonize)
    result[inside] = _encoded(_tone(radiance * gain)).T
    places = _places(edges, camera.width)
    directions, hits = tracer.trace_rays(frame, camera, trace.silhouettes, places)
    mixed = np.repeat(uncovered, len(EDGE_OFFSETS), axis=0)
    found = np.flatnonzero(hits.group >= 0)
    mixed[found] = _tone(shade(reader.read(hits, directions, found), light)[0] * gain).T
    total = mixed.reshape(len(edges), len(EDGE_OFFSETS), 3).sum(axis=1) + _LINEAR[result[edges]]
    result[edges] = _encoded(total / (len(EDGE_OFFSETS) + 1))
    return result.reshape(behind.shape)


def _edges(hits: Hits, camera: CameraView) -> npt.NDArray[np.bool_]:
    """Pixels (H * W,) beside which something else begins."""
    shape = (camera.height, camera.width)
    key = (hits.group.astype(np.int64) << 16 | hits.part).reshape(shape)
    depth = np.where(np.isfinite(hits.distance_m), hits.distance_m, 0.0).reshape(shape)
    result = np.zeros(shape, dtype=np.bool_)
    for one, other in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1, :], np.s_[1:, :]),
    ):
        jump = np.abs(depth[one] - depth[other]) > DEPTH_EDGE * np.minimum(depth[one], depth[other])
        differs = (key[one] != key[other]) | (jump & (key[one] >= 0))
        result[one] |= differs
        result[other] |= differs
    return result.ravel()


def _places(pixels: npt.NDArray[np.int64], width: int) -> Float64:
    """Places (N * 2, 2) within flat pixels (N,), those of one pixel beside each other."""
    rows, columns = np.divmod(pixels, width)
    corners = np.stack([columns, rows], axis=1).astype(np.float64)
    places: Float64 = (corners[:, None, :] + np.asarray(EDGE_OFFSETS)[None]).reshape(-1, 2)
    return places


def _gain(
    radiance: Float32Array,
    irradiance: Float32Array,
    behind: UInt8Array,
    exposure_ev: float | None,
    harmonize: float,
) -> Float32Array:
    """Factor (3, 1) on the objects' radiance: exposure, brought towards the background's light."""
    if exposure_ev is None:
        luminance = 0.2126 * radiance[0] + 0.7152 * radiance[1] + 0.0722 * radiance[2]
        exposed = KEY / float(np.exp(np.log(np.maximum(luminance, DARKEST), dtype=float).mean()))
    else:
        exposed = 2.0**exposure_ev
    own = REFERENCE_ALBEDO / np.pi * irradiance.mean(axis=1, dtype=np.float64)
    # every fourth pixel of every fourth row tells the mean well enough
    wanted = _LINEAR[behind[::4, ::4].reshape(-1, 3)].mean(axis=0, dtype=np.float64)
    matched = np.maximum(wanted, DARKEST) / np.maximum(own, DARKEST)
    gain = exposed ** (1.0 - harmonize) * matched**harmonize
    return np.asarray(gain, dtype=np.float32)[:, None]


def _tone(radiance: Float32Array) -> Float32Array:
    """Narkowicz's fit of the ACES filmic curve, as the full renderer has it; 0 to 1."""
    x = np.maximum(radiance, 0.0) * np.float32(0.8)
    curve = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    result: Float32Array = np.clip(curve, 0.0, 1.0)
    return result


def _sqrt_table() -> UInt8Array:
    """8-bit sRGB of the squares of 0 to 1: roots spread dark values out."""
    linear = (np.arange(_STEPS + 1) / _STEPS) ** 2
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    table: UInt8Array = np.rint(encoded * 255).astype(np.uint8)
    return table


_ENCODED = _sqrt_table()


def _encoded(linear: Float32Array) -> UInt8Array:
    """Linear 0 to 1 as 8-bit sRGB, through a table."""
    steps = np.sqrt(np.clip(linear, 0.0, 1.0)) * np.float32(_STEPS) + np.float32(0.5)
    return _ENCODED[steps.astype(np.int32)]
