"""Material values at surface points: for alpha tests and for guides of the denoiser."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from simcloud.scene.translate.types import Material, SceneMesh, Texture, UvTransform
from simcloud_generator.backends.frame_materials import Part
from simcloud_generator.backends.images import Float32Array, ImageStore

CUT_OUT_LEVEL = 0.5
"""A texel counts as a hole below this where the material names no threshold."""


def transform_uv(
    uvs: npt.NDArray[np.floating], transform: UvTransform | None
) -> npt.NDArray[np.float64]:
    """Texture coordinates (N, 2) through UsdTransform2d: scale, rotate, translate."""
    u, v = uvs[:, 0].astype(np.float64), uvs[:, 1].astype(np.float64)
    if transform is None:
        return np.stack([u, v], axis=1)
    u, v = u * transform.scale[0], v * transform.scale[1]
    angle = math.radians(transform.rotation_deg)
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.stack(
        [
            u * cosine - v * sine + transform.translation[0],
            u * sine + v * cosine + transform.translation[1],
        ],
        axis=1,
    )


def corner_mix(
    values: npt.NDArray[np.floating],
    mesh: SceneMesh,
    primitive: npt.NDArray[np.integer],
    barycentric: tuple[Float32Array, Float32Array],
) -> npt.NDArray[np.float64]:
    """Vertex values (V, C) interpolated at hits (N,); float64 (N, C)."""
    u, v = (weight.astype(np.float64)[:, None] for weight in barycentric)
    corners = mesh.faces[primitive]
    first, second, third = (values[corners[:, i]].astype(np.float64) for i in range(3))
    mixed: npt.NDArray[np.float64] = first * (1 - u - v) + second * u + third * v
    return mixed


def sample_texture(
    images: ImageStore, texture: Texture, uv: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Bilinear samples (N, C) at coordinates (N, 2) with v up."""
    image = images.values(texture)
    height, width = image.shape[:2]
    x, y = uv[:, 0] * width - 0.5, (1.0 - uv[:, 1]) * height - 0.5
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    columns = [_wrap(x0 + step, width, texture.wrap) for step in (0, 1)]
    rows = [_wrap(y0 + step, height, texture.wrap) for step in (0, 1)]
    upper = image[rows[0], columns[0]] * (1 - fx) + image[rows[0], columns[1]] * fx
    lower = image[rows[1], columns[0]] * (1 - fx) + image[rows[1], columns[1]] * fx
    result: npt.NDArray[np.float64] = upper * (1 - fy) + lower * fy
    return result


def _wrap(index: npt.NDArray[np.float64], size: int, mode: str) -> npt.NDArray[np.int64]:
    whole = index.astype(np.int64)
    if mode == "clamp":
        return np.clip(whole, 0, size - 1)
    if mode == "mirror":
        folded = np.mod(whole, 2 * size)
        return np.where(folded < size, folded, 2 * size - 1 - folded)
    return np.mod(whole, size)


def is_cut_out(material: Material) -> bool:
    """Whether rays may pass through holes in the material's opacity texture."""
    return material.opacity_texture is not None


def solid_at(
    images: ImageStore,
    part: Part,
    primitive: npt.NDArray[np.integer],
    barycentric: tuple[Float32Array, Float32Array],
) -> npt.NDArray[np.bool_]:
    """Whether the part is there, rather than a hole, at hits (N,)."""
    texture = part.material.opacity_texture
    if texture is None or part.mesh.uvs is None:
        return np.ones(len(primitive), dtype=np.bool_)
    uv = corner_mix(part.mesh.uvs, part.mesh, primitive, barycentric)
    alpha = sample_texture(images, texture, transform_uv(uv, part.material.uv_transform))[:, 0]
    level = part.material.opacity_threshold
    return alpha >= (level if level > 0 else CUT_OUT_LEVEL)


def albedo_at(
    images: ImageStore,
    part: Part,
    primitive: npt.NDArray[np.integer],
    barycentric: tuple[Float32Array, Float32Array],
) -> npt.NDArray[np.float64]:
    """Linear base colour (N, 3) at hits."""
    texture = part.material.base_color_texture
    if texture is None or part.mesh.uvs is None:
        color = np.broadcast_to(
            np.asarray(part.material.base_color, np.float64), (len(primitive), 3)
        )
    else:
        uv = corner_mix(part.mesh.uvs, part.mesh, primitive, barycentric)
        color = sample_texture(images, texture, transform_uv(uv, part.material.uv_transform))
    tint = np.ones(3) if part.tint_rgb is None else np.asarray(part.tint_rgb)
    return np.clip(np.broadcast_to(color * tint, (len(primitive), 3)), 0.0, 1.0)
