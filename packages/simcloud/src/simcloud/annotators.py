"""The annotator table: what every layer is, how it is encoded and what it is called.

Names, dtypes and conventions are Replicator's (``omni.replicator.core`` annotator registry). The
table is the one definition: the encoder, the tar's member names, the spec's validation, the backend
contract tests and ``docs/reference/annotators.md`` are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Encoding(StrEnum):
    """How a layer's array becomes bytes."""

    PNG = "png"
    """8-bit RGB or 16-bit grey, lossless."""
    JPEG = "jpeg"
    """8-bit RGB, quality 95, 4:4:4."""
    EXR_FLOAT = "exr_float"
    """OpenEXR, 32-bit float, ZIP, lossless."""
    EXR_HALF = "exr_half"
    """OpenEXR, 16-bit float, ZIP; rounds to 11 significant bits."""
    NPZ = "npz"
    """NumPy arrays by name, deflated, fixed time stamps."""
    JSON = "json"
    """Rows in the frame's json member: the annotator has no layer of its own."""


@dataclass(frozen=True, slots=True)
class EncodingInfo:
    """File facts of an encoding."""

    extension: str
    media_type: str


ENCODINGS: dict[Encoding, EncodingInfo] = {
    Encoding.PNG: EncodingInfo(extension="png", media_type="image/png"),
    Encoding.JPEG: EncodingInfo(extension="jpg", media_type="image/jpeg"),
    Encoding.EXR_FLOAT: EncodingInfo(extension="exr", media_type="image/x-exr"),
    Encoding.EXR_HALF: EncodingInfo(extension="exr", media_type="image/x-exr"),
    Encoding.NPZ: EncodingInfo(extension="npz", media_type="application/x-npz"),
    Encoding.JSON: EncodingInfo(extension="json", media_type="application/json"),
}


@dataclass(frozen=True, slots=True)
class Annotator:
    """One row of the table."""

    name: str
    dtype: str
    """NumPy dtype of the array, or ``rows`` for a list of records in the frame's json."""
    shape: str
    """Array shape in words; H and W are the camera's height and width, N counts rows."""
    unit: str
    frame_of_reference: str
    encodings: tuple[Encoding, ...]
    """Allowed encodings, the default first."""
    description: str

    @property
    def is_layer(self) -> bool:
        """Whether the annotator has a payload of its own rather than rows in the frame's json."""
        return self.encodings != (Encoding.JSON,)


_TABLE = (
    Annotator(
        name="rgb",
        dtype="uint8",
        shape="(H, W, 3)",
        unit="sRGB",
        frame_of_reference="image, row 0 at the top",
        encodings=(Encoding.PNG, Encoding.JPEG),
        description="Tone-mapped picture. Replicator's fourth channel (constant 255) is dropped.",
    ),
    Annotator(
        name="distance_to_camera",
        dtype="float32",
        shape="(H, W)",
        unit="m",
        frame_of_reference="along the ray through the pixel's centre, from the camera's origin",
        encodings=(Encoding.EXR_FLOAT, Encoding.NPZ),
        description="Euclidean distance of the first surface; inf where nothing was hit.",
    ),
    Annotator(
        name="distance_to_image_plane",
        dtype="float32",
        shape="(H, W)",
        unit="m",
        frame_of_reference="along the camera's viewing axis (-Z)",
        encodings=(Encoding.EXR_FLOAT, Encoding.NPZ),
        description="Depth of the first surface; inf where nothing was hit.",
    ),
    Annotator(
        name="normals",
        dtype="float32",
        shape="(H, W, 3)",
        unit="1",
        frame_of_reference="world, Z up",
        encodings=(Encoding.EXR_HALF, Encoding.EXR_FLOAT, Encoding.NPZ),
        description="Unit geometric normal facing the camera; 0 where nothing was hit.",
    ),
    Annotator(
        name="motion_vectors",
        dtype="float32",
        shape="(H, W, 4)",
        unit="px",
        frame_of_reference="image; x positive for motion to the left, y positive for motion up",
        encodings=(Encoding.EXR_FLOAT, Encoding.NPZ),
        description=(
            "From the pixel's centre to where its surface point was one step (`1 / fps`) earlier, "
            "by the motion of the camera and of the object; 0 where nothing moved. Where nothing "
            "was hit, the direction lies infinitely far away. Channels z and w are 0."
        ),
    ),
    Annotator(
        name="semantic_segmentation",
        dtype="uint16",
        shape="(H, W)",
        unit="id",
        frame_of_reference="image, row 0 at the top",
        encodings=(Encoding.PNG, Encoding.NPZ),
        description=(
            "Class ids: 0 BACKGROUND (nothing hit), 1 UNLABELLED, then the spec's classes in "
            "alphabetic order from 2, alike in every frame; `idToLabels` is in the frame's json. "
            "Replicator's uint32 in 16 bits."
        ),
    ),
    Annotator(
        name="instance_segmentation",
        dtype="uint16",
        shape="(H, W)",
        unit="id",
        frame_of_reference="image, row 0 at the top",
        encodings=(Encoding.PNG, Encoding.NPZ),
        description=(
            "Instance ids of labelled objects: 0 BACKGROUND, 1 UNLABELLED, then `instance_id` of "
            "the frame's objects, alike for all cameras. Replicator's uint32 in 16 bits."
        ),
    ),
    Annotator(
        name="bounding_box_2d_tight",
        dtype="rows",
        shape="(N,)",
        unit="px",
        frame_of_reference="image; pixel edges: x_min, y_min inclusive, x_max, y_max exclusive",
        encodings=(Encoding.JSON,),
        description="Box of the visible pixels; objects without any are left out.",
    ),
    Annotator(
        name="bounding_box_2d_loose",
        dtype="rows",
        shape="(N,)",
        unit="px",
        frame_of_reference="image; pixel edges: x_min, y_min inclusive, x_max, y_max exclusive",
        encodings=(Encoding.JSON,),
        description="Box of the whole object as if nothing stood before it, clipped to the image.",
    ),
    Annotator(
        name="bounding_box_3d",
        dtype="rows",
        shape="(N,)",
        unit="m",
        frame_of_reference="asset frame, with local2world (row-major, column vectors)",
        encodings=(Encoding.JSON,),
        description=(
            "Axis-aligned box of the asset in its own frame, before its scale, and its transform. "
            "Corner i has the maximum along axis k where bit k of i is set. Replicator's "
            "`transform` is the transpose: it multiplies row vectors."
        ),
    ),
    Annotator(
        name="occlusion",
        dtype="rows",
        shape="(N,)",
        unit="1",
        frame_of_reference="image",
        encodings=(Encoding.JSON,),
        description=(
            "1 - visible pixels / pixels if nothing stood before it, within the image; 1 for what "
            "is outside. Replicator's -1 (prims of several meshes) and NaN (outside) do not occur."
        ),
    ),
    Annotator(
        name="camera_params",
        dtype="rows",
        shape="one",
        unit="mm, px, m",
        frame_of_reference="world, Z up; USD camera: -Z forward, +Y up",
        encodings=(Encoding.JSON,),
        description=(
            "Intrinsics, cam2world, aperture and clipping range. Replicator's "
            "`cameraViewTransform` is the inverse of cam2world, transposed."
        ),
    ),
    Annotator(
        name="pointcloud",
        dtype="float32",
        shape="(N, 3)",
        unit="m",
        frame_of_reference="world, Z up",
        encodings=(Encoding.NPZ,),
        description=(
            "A point per pixel that hit a labelled object, row-major, with `rgb` (N, 3) uint8, "
            "`normals` (N, 3) float32, `semantic` and `instance` (N,) uint16: Replicator's "
            "`pointRgb`, `pointNormals`, `pointSemantic` and `pointInstance`."
        ),
    ),
)

ANNOTATORS: dict[str, Annotator] = {row.name: row for row in _TABLE}
"""Every annotator by name, in the order in which layers stand in a frame."""

BACKGROUND_ID = 0
"""Segmentation id where the ray hit nothing."""
UNLABELLED_ID = 1
"""Segmentation id of geometry without a semantic label."""
FIRST_CLASS_ID = 2
"""Segmentation id of the first class."""
