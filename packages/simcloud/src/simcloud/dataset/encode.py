"""Arrays to layer bytes and back, for every encoding of the annotator table.

Bytes are a pure function of the array and of the libraries' versions: no time stamps, no names.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from simcloud.annotators import Encoding
from simcloud.errors import Corruption, InvalidRequest

Array = npt.NDArray[Any]

JPEG_QUALITY = 95
PNG16_LEVEL = 1
"""zlib level of 16-bit PNG: ids are flat, higher levels cost time and gain nothing."""

NPZ_LEVEL = 3
NPZ_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip file can carry."""

DATA = "data"
"""Name of the array in the NPZ of a plain array; rows with fields have one array per field."""

EXR_CHANNELS: dict[int, tuple[str, ...]] = {
    1: ("Z",),
    3: ("X", "Y", "Z"),
    4: ("X", "Y", "Z", "W"),
}
"""Channel names by number of channels, as compositing programs expect them: depth, normals,
motion."""


def encode(array: Array, encoding: Encoding) -> bytes:
    """Encodes one annotator's array.

    Args:
        array: as the annotator table says: uint8 (H, W, 3), uint16 (H, W), float32 (H, W) or
            (H, W, 3 or 4); for ``pointcloud`` a structured array (N,), one field per column.
        encoding: one that the table allows for it.

    Raises:
        InvalidRequest: the encoding cannot carry an array of this dtype and shape.
    """
    match encoding, str(array.dtype), array.ndim:
        case _, _, _ if array.size == 0 and encoding != Encoding.NPZ:
            pass
        case Encoding.PNG, "uint16", 2:
            return _encode_png16(array)
        case Encoding.PNG, "uint8", 3 if array.shape[2] == 3:
            return _encode_png_rgb(array)
        case Encoding.JPEG, "uint8", 3 if array.shape[2] == 3:
            return _encode_jpeg(array)
        case Encoding.EXR_FLOAT | Encoding.EXR_HALF, "float32", 2 | 3:
            half = encoding == Encoding.EXR_HALF
            planes = array.reshape(*array.shape[:2], -1)
            if planes.shape[2] in EXR_CHANNELS:
                return _encode_exr(planes.astype(np.float16) if half else planes)
        case Encoding.NPZ, _, _:
            return _encode_npz(array)
        case _:
            pass
    raise InvalidRequest("array", f"{encoding} cannot carry {array.dtype} {array.shape}")


def decode(data: bytes, encoding: Encoding) -> Array:
    """Decodes what :func:`encode` made.

    Returns:
        The array in its dtype; half floats come back as float32. JPEG and half floats lose
        precision, everything else is exact.

    Raises:
        Corruption: the bytes are no such file.
        InvalidRequest: the encoding has no file of its own.
    """
    try:
        match encoding:
            case Encoding.PNG | Encoding.JPEG:
                return _decode_image(data)
            case Encoding.EXR_FLOAT | Encoding.EXR_HALF:
                return _decode_exr(data)
            case Encoding.NPZ:
                return _decode_npz(data)
            case Encoding.JSON:
                raise InvalidRequest("encoding", "rows of the frame's json are no layer")
    except (
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise Corruption(f"{len(data)} bytes that are no {encoding} layer: {error}") from error


def _encode_png_rgb(array: Array) -> bytes:
    import cv2

    ok, data = cv2.imencode(".png", np.ascontiguousarray(array[:, :, ::-1]))
    if not ok:
        raise InvalidRequest("array", f"a picture of shape {array.shape} cannot be PNG")
    return bytes(data)


def _encode_png16(array: Array) -> bytes:
    import cv2

    options = [cv2.IMWRITE_PNG_COMPRESSION, PNG16_LEVEL]
    ok, data = cv2.imencode(".png", np.ascontiguousarray(array), options)
    if not ok:
        raise InvalidRequest("array", f"a picture of shape {array.shape} cannot be PNG")
    return bytes(data)


def _encode_jpeg(array: Array) -> bytes:
    import cv2

    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    ok, data = cv2.imencode(".jpg", np.ascontiguousarray(array[:, :, ::-1]), options)
    if not ok:
        raise InvalidRequest("array", f"a picture of shape {array.shape} cannot be JPEG")
    return bytes(data)


def _decode_image(data: bytes) -> Array:
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(str(error)) from error
    if image is None:
        raise ValueError(f"{len(data)} bytes that are no picture")
    array: Array = image
    return np.ascontiguousarray(array[:, :, ::-1]) if array.ndim == 3 else array


def _encode_exr(planes: Array) -> bytes:
    import OpenEXR

    names = EXR_CHANNELS[planes.shape[2]]
    channels = {name: np.ascontiguousarray(planes[:, :, i]) for i, name in enumerate(names)}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    stream = io.BytesIO()
    with OpenEXR.File(header, channels, num_threads=0) as file:
        file.write(stream)
    return stream.getvalue()


def _decode_exr(data: bytes) -> Array:
    import OpenEXR

    with OpenEXR.File(io.BytesIO(data), separate_channels=True, num_threads=0) as file:
        channels = file.channels()
        names = EXR_CHANNELS[len(channels)]
        planes = [np.array(channels[name].pixels, dtype=np.float32) for name in names]
    return planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)


def _encode_npz(array: Array) -> bytes:
    fields = array.dtype.names
    arrays = {DATA: array} if fields is None else {name: array[name] for name in fields}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(values), version=(1, 0))
            info = zipfile.ZipInfo(f"{name}.npy", date_time=NPZ_DATE)
            info.create_system = 3  # Unix, wherever it is written
            archive.writestr(
                info, member.getvalue(), compress_type=zipfile.ZIP_DEFLATED, compresslevel=NPZ_LEVEL
            )
    return stream.getvalue()


def _decode_npz(data: bytes) -> Array:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        arrays = {
            name.removesuffix(".npy"): np.lib.format.read_array(
                io.BytesIO(archive.read(name)), allow_pickle=False
            )
            for name in archive.namelist()
        }
    if set(arrays) == {DATA}:
        plain: Array = arrays[DATA]
        return plain
    dtype = [(name, values.dtype, values.shape[1:]) for name, values in arrays.items()]
    rows = np.zeros(len(next(iter(arrays.values()))), dtype=np.dtype(dtype))
    for name, values in arrays.items():
        rows[name] = values
    return rows
