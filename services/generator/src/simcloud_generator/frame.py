"""One frame from parameters to encoded layers: render, annotate, check, encode."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from simcloud import geometry
from simcloud.annotators import ANNOTATORS, ENCODINGS
from simcloud.dataset.encode import encode
from simcloud.dataset.frames import EncodedFrame, Layer, member_stem
from simcloud.dataset.record import (
    CameraRecord,
    DistractorRecord,
    FrameRecord,
    LayerRecord,
    ObjectRecord,
    Quarantine,
)
from simcloud.labels.objects import ObjectLabel
from simcloud.labels.qa import check_view
from simcloud.s3.checksums import crc64nvme, to_hex
from simcloud.scene.stage import OBJECTS_ROOT
from simcloud.spec.model import Spec
from simcloud.spec.origins import placed_by
from simcloud.spec.parameters import CameraView, FrameParameters, PlacedObject
from simcloud_generator.backends.base import RenderedView, Session
from simcloud_generator.sensor.effects import sensed

RECORD_BOUND_BYTES = 1 << 20
"""A record with a few hundred objects stays well below this."""
STOCHASTIC_OFFSET_PX = 1.0
"""A renderer that jitters its samples may have looked this far from a pixel's centre."""
_LAYER_OVERHEAD_BYTES = 1 << 16
_PIXEL_BYTES = {"rgb": 3, "normals": 12, "motion_vectors": 16, "pointcloud": 40}
_DEFAULT_PIXEL_BYTES = 4
_STAGES = {"labels": "annotate", "guides": "render", "denoise": "render", "develop": "render"}
"""A backend's own steps as the stages of the contract."""


def max_frame_bytes(spec: Spec) -> int:
    """Upper bound of one frame's payload, all cameras: every layer as if it did not compress."""
    total = 0
    for camera in spec.cameras:
        pixels = camera.width_px * camera.height_px
        total += RECORD_BOUND_BYTES
        for name in spec.annotators:
            if ANNOTATORS[name].is_layer:
                raw = pixels * _PIXEL_BYTES.get(name, _DEFAULT_PIXEL_BYTES)
                total += raw + raw // 8 + _LAYER_OVERHEAD_BYTES
    return total


class Stopwatch:
    """Wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - begin)

    def add(self, name: str, seconds: float) -> None:
        """Adds time that was measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


class FrameMaker:
    """Makes the frames of one spec in one opened scene."""

    def __init__(
        self, *, spec: Spec, spec_digest: str, fingerprint: str, session: Session, stochastic: bool
    ) -> None:
        self._spec = spec
        self._spec_digest = spec_digest
        self._fingerprint = fingerprint
        self._session = session
        self._stochastic = stochastic
        self._labels = {str(key): label for key, label in session.id_to_label.items()}

    def make(
        self, parameters: FrameParameters, split: str, watch: Stopwatch
    ) -> tuple[tuple[EncodedFrame, ...], Quarantine | None]:
        """Renders, checks and encodes a frame.

        Args:
            parameters: what the frame consists of.
            split: its split.
            watch: gets the stages' times.

        Returns:
            An encoded frame for each camera, and why it was quarantined (None: it was not). All
            cameras of a frame share its fate: they show the same objects.
        """
        views, violation = self._rendered(parameters, watch)
        if violation is not None and self._stochastic:
            # A stochastic renderer gets a second chance; a deterministic one would fail alike.
            views, violation = self._rendered(parameters, watch)
        if violation is not None:
            return self.quarantined(parameters, split, violation), violation
        with watch.stage("encode"):
            return tuple(self._encoded(view, parameters, split) for view in views), None

    def quarantined(
        self, parameters: FrameParameters, split: str, reason: Quarantine
    ) -> tuple[EncodedFrame, ...]:
        """The frame as its records alone."""
        return tuple(
            EncodedFrame(
                frame=parameters.frame,
                camera=camera.name,
                record=replace(
                    self._record(camera, parameters, split), quarantine=reason
                ).to_json(),
                layers=(),
            )
            for camera in parameters.cameras
        )

    def _rendered(
        self, parameters: FrameParameters, watch: Stopwatch
    ) -> tuple[list[RenderedView], Quarantine | None]:
        views = self._session.render(parameters, self._spec.annotators)
        for view in views:
            for stage, seconds in view.timings.items():
                watch.add(_STAGES.get(stage, stage), seconds)
        with watch.stage("render"):
            views = [sensed(view) for view in views]
        with watch.stage("check"):
            for view in views:
                for violation in check_view(
                    view.camera,
                    view.arrays,
                    view.objects,
                    sample_offset_px=STOCHASTIC_OFFSET_PX if self._stochastic else 0.0,
                ):
                    detail = (
                        f"camera {view.camera.name}: {violation.object or 'the whole picture'}"
                        f"{placed_by(parameters, violation.object)}: "
                        f"expected {violation.expected}, found {violation.found} "
                        f"(tolerance {violation.tolerance})"
                    )
                    return views, Quarantine(rule=violation.rule, detail=detail)
        return views, None

    def _encoded(self, view: RenderedView, parameters: FrameParameters, split: str) -> EncodedFrame:
        layers = []
        for name in self._spec.annotators:
            if not ANNOTATORS[name].is_layer:
                continue
            encoding = self._spec.encodings[name]
            data = encode(view.arrays[name], encoding)
            info = ENCODINGS[encoding]
            layers.append(
                Layer(
                    annotator=name,
                    extension=info.extension,
                    media_type=info.media_type,
                    data=data,
                    crc64nvme=crc64nvme(data),
                )
            )
        stem = member_stem(parameters.frame, view.camera.name)
        placed = {item.name: item for item in parameters.objects}
        # a backend says of every labelled object, in sight or not, what it is
        labelled = {item.name for item in view.objects}
        record = replace(
            self._record(view.camera, parameters, split),
            objects=tuple(
                _object_record(item, placed.get(item.name))
                for item in view.objects
                if item.amodal_px > 0
            ),
            distractors=tuple(
                _distractor_record(item) for item in parameters.objects if item.name not in labelled
            ),
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
            frame=parameters.frame,
            camera=view.camera.name,
            record=record.to_json(),
            layers=tuple(layers),
        )

    def _record(self, camera: CameraView, parameters: FrameParameters, split: str) -> FrameRecord:
        return FrameRecord(
            frame=parameters.frame,
            camera=camera.name,
            split=split,
            spec_digest=self._spec_digest,
            fingerprint=self._fingerprint,
            params=parameters.values,
            view=_camera_record(camera),
            id_to_label=self._labels,
        )


def _camera_record(camera: CameraView) -> CameraRecord:
    matrix = geometry.intrinsics(camera)
    return CameraRecord(
        width=camera.width,
        height=camera.height,
        fx_px=float(matrix[0, 0]),
        fy_px=float(matrix[1, 1]),
        cx_px=float(matrix[0, 2]),
        cy_px=float(matrix[1, 2]),
        cam2world=tuple(value for row in camera.cam2world for value in row),
        focal_length_mm=camera.focal_length_mm,
        horizontal_aperture_mm=camera.horizontal_aperture_mm,
        near_m=camera.near_m,
        far_m=camera.far_m,
    )


def _object_record(item: ObjectLabel, placed: PlacedObject | None) -> ObjectRecord:
    return ObjectRecord(
        instance_id=item.instance_id,
        name=item.name,
        asset=item.asset,
        label=item.label,
        semantic_id=item.semantic_id,
        local2world=tuple(value for row in item.local2world for value in row),
        box3d_min_m=item.box3d_min,
        box3d_max_m=item.box3d_max,
        box2d_tight=item.box2d_tight,
        box2d_loose=item.box2d_loose,
        visible_px=item.visible_px,
        amodal_px=item.amodal_px,
        occlusion=item.occlusion,
        truncation=item.truncation,
        distance_m=item.distance_m,
        prim=item.prim,
        group=placed.group if placed else None,
        scale=placed.scale if placed else None,
        tint_rgb=placed.tint_rgb if placed else None,
        density_kg_m3=placed.density_kg_m3 if placed else None,
        friction=placed.friction if placed else None,
        velocity_m_s=placed.velocity_m_s if placed else None,
        angular_deg_s=placed.angular_deg_s if placed else None,
    )


def _distractor_record(item: PlacedObject) -> DistractorRecord:
    # as the backends place what has a label
    pose = geometry.pose_matrix(item.position_m, item.orientation_wxyz, item.scale)
    return DistractorRecord(
        name=item.name,
        asset=item.asset,
        local2world=tuple(value for row in geometry.as_matrix4(pose) for value in row),
        prim=f"{OBJECTS_ROOT}/{item.name}",
        scale=item.scale,
        group=item.group or None,
        tint_rgb=item.tint_rgb,
        density_kg_m3=item.density_kg_m3,
        friction=item.friction,
        velocity_m_s=item.velocity_m_s,
        angular_deg_s=item.angular_deg_s,
    )
