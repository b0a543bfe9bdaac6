"""One picture of a source as a frame of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from simcloud.annotators import ANNOTATORS, ENCODINGS, FIRST_CLASS_ID, Encoding
from simcloud.dataset.encode import Array, encode
from simcloud.dataset.frames import EncodedFrame, Layer, member_stem
from simcloud.dataset.record import CameraRecord, FrameRecord, LayerRecord, ObjectRecord
from simcloud.errors import InvalidRequest
from simcloud.importing.boxes import pixel_box
from simcloud.importing.pictures import PictureFacts, decode_rgb
from simcloud.importing.types import Content, FrameContent, SourceFrame, SourceObject
from simcloud.s3.checksums import crc64nvme, to_hex
from simcloud.spec.parameters import Scalar

CAMERA = "picture"
"""Name of the one camera of an imported run."""
SOURCE_NAME = "source.name"
"""Parameter with the name of a frame's picture in its source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """A frame whose picture and labels were found good."""

    frame: SourceFrame
    facts: PictureFacts
    upper_bytes: int
    """Of the frame as it will be stored: an upper bound, for budgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMaker:
    """Makes frames; equal sources give equal bytes."""

    content: Content
    classes: tuple[str, ...]
    encodings: Mapping[str, Encoding]
    """By annotator that has a layer, in the annotator table's order."""
    spec_digest: str
    fingerprint: str

    async def make(self, index: int, split: str, seen: LookedAt) -> EncodedFrame:
        """Reads a picture and its labels again and makes the frame.

        Raises:
            InvalidRequest: a file is gone or has changed.
        """
        size = (seen.facts.width, seen.facts.height)
        rgb = await self.content.rgb(seen.frame)
        content = await self.content.content(seen.frame, size)
        return await asyncio.to_thread(self._encoded, index, split, seen, rgb, content)

    def _encoded(
        self, index: int, split: str, seen: LookedAt, rgb: bytes | Array, content: FrameContent
    ) -> EncodedFrame:
        layers = [
            self._layer(name, _payload(name, encoding, seen, rgb, content.layers))
            for name, encoding in self.encodings.items()
        ]
        stem = member_stem(index, CAMERA)
        record = FrameRecord(
            frame=index,
            camera=CAMERA,
            split=split,
            spec_digest=self.spec_digest,
            fingerprint=self.fingerprint,
            params=params_of(seen.frame),
            view=content.view or unknown_view(seen.facts.width, seen.facts.height),
            objects=records(content.objects, self.classes, seen.facts),
            id_to_label={
                str(FIRST_CLASS_ID + number): label for number, label in enumerate(self.classes)
            }
            if "semantic_segmentation" in self.encodings
            else {},
            layers=tuple(
                LayerRecord(
                    annotator=layer.annotator,
                    member=f"{stem}.{layer.annotator}.{layer.extension}",
                    media_type=layer.media_type,
                    size_bytes=len(layer.data),
                    crc64nvme=to_hex(layer.crc64nvme),
                )
                for layer in layers
            ),
        )
        return EncodedFrame(
            frame=index, camera=CAMERA, record=record.to_json(), layers=tuple(layers)
        )

    def _layer(self, name: str, data: bytes) -> Layer:
        info = ENCODINGS[self.encodings[name]]
        return Layer(
            annotator=name,
            extension=info.extension,
            media_type=info.media_type,
            data=data,
            crc64nvme=crc64nvme(data),
        )


def params_of(frame: SourceFrame) -> dict[str, Scalar]:
    """Parameters of a frame: what its format says, and the name of its picture."""
    return {**frame.params, SOURCE_NAME: frame.key}


def unknown_view(width: int, height: int) -> CameraRecord:
    """A camera of which only the picture's size is known."""
    return CameraRecord(
        width=width,
        height=height,
        fx_px=None,
        fy_px=None,
        cx_px=None,
        cy_px=None,
        cam2world=None,
        focal_length_mm=None,
        horizontal_aperture_mm=None,
        near_m=None,
        far_m=None,
    )


def records(
    objects: Sequence[SourceObject], classes: Sequence[str], facts: PictureFacts
) -> tuple[ObjectRecord, ...]:
    """Objects as a record holds them, ids and names given in the source's order.

    Raises:
        InvalidRequest: a box that is not one; the label's place is named.
    """
    semantic = {label: FIRST_CLASS_ID + number for number, label in enumerate(classes)}
    result = []
    for number, item in enumerate(_with_ids(objects)):
        box = loose = None
        solid = item.solid
        if item.box is not None:
            try:
                size = (facts.width, facts.height)
                box = pixel_box(item.box, size, relative=item.relative)
                loose = pixel_box(item.loose, size) if item.loose is not None else None
            except ValueError as error:
                raise InvalidRequest(item.where, str(error)) from error
        if item.label not in semantic:
            raise InvalidRequest(item.where, f"class {item.label!r} is not among the classes")
        result.append(
            ObjectRecord(
                instance_id=item.instance_id,
                name=item.name or f"{item.label}_{number:02d}",
                asset="",
                label=item.label,
                semantic_id=semantic[item.label],
                local2world=solid.local2world if solid else None,
                box3d_min_m=solid.minimum if solid else None,
                box3d_max_m=solid.maximum if solid else None,
                box2d_tight=box,
                box2d_loose=loose,
                visible_px=item.visible_px,
                amodal_px=None,
                occlusion=item.occlusion,
                truncation=None,
                distance_m=None,
                prim=item.prim,
                ignored=item.ignored,
            )
        )
    return tuple(result)


def _with_ids(objects: Sequence[SourceObject]) -> list[SourceObject]:
    following = max([FIRST_CLASS_ID - 1, *(item.instance_id for item in objects)]) + 1
    result = []
    for item in objects:
        if item.instance_id:
            result.append(item)
        else:
            result.append(replace(item, instance_id=following))
            following += 1
    return result


def _payload(
    name: str,
    encoding: Encoding,
    seen: LookedAt,
    rgb: bytes | Array,
    layers: Mapping[str, Array],
) -> bytes:
    if name != "rgb":
        if name not in layers:
            raise InvalidRequest(seen.frame.key, f"has no {name}")
        return encode(layers[name], encoding)
    if not isinstance(rgb, bytes):
        return encode(rgb, encoding)
    if seen.facts.as_is is encoding:
        return rgb
    try:
        return encode(decode_rgb(rgb), encoding)
    except ValueError as error:
        raise InvalidRequest(seen.frame.picture, str(error)) from error


def upper_bytes(
    facts: PictureFacts, file_bytes: int, annotators: Sequence[str], objects: int
) -> int:
    """More than the frame can have: layers that don't shrink, and a record of long names."""
    pixels = facts.width * facts.height
    total = max(file_bytes, 3 * pixels)
    for name in annotators:
        total += pixels * (4 if ANNOTATORS[name].dtype == "float32" else 2)
    # Deflate grows what it can't shrink by 5 bytes in 16 KiB (RFC 1951, 3.2.4), PNG by 1 a row.
    return total + total // 1000 + facts.height * 8 + (256 << 10) + 2048 * objects
