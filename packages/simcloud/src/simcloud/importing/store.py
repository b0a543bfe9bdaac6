"""A scanned source into a run: spec, plan, shards, manifest, through the uploader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import cv2

from simcloud.annotators import ANNOTATORS, Encoding
from simcloud.client.events import RunOpened, ShardStored, Waiting
from simcloud.client.uploader import (
    CommittedShard,
    ResumeMismatch,
    RunSummary,
    ShardUpload,
    UploaderClient,
)
from simcloud.concurrency.ahead import run_ahead
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.errors import Conflict
from simcloud.importing.frame import CAMERA, FrameMaker, LookedAt
from simcloud.importing.scan import Scanned
from simcloud.spec.camera_model import Camera, UnknownStanding
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.fingerprint import RenderFingerprint
from simcloud.spec.model import Renderer, SceneRef, Spec
from simcloud.spec.plan import DEFAULT_FRAMES_PER_SHARD, CountingRule, Plan, ShardFrames

BACKEND = "imported"
VARIANT = "original"
RULES_VERSION = "1"
"""Of how labels become records: another number is another fingerprint."""
_AHEAD_FRAMES = 4
_AHEAD_BYTES = 256 << 20
_RPC_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """Where a scanned source goes."""

    location: RunLocation
    scanned: Scanned
    frames_per_shard: int = DEFAULT_FRAMES_PER_SHARD
    class_map: Mapping[str, str] | None = None
    """Model's label by class, for scoring; None: they are called alike."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    """Who and what imports it."""
    others_poll_s: float = 5.0
    """Between looks at a shard that another writer owns."""
    others_for_s: float = 600.0
    """How long one may stay another's."""


@dataclass(frozen=True, slots=True)
class ImportStored:
    """The last event of an import."""

    summary: RunSummary
    spec_digest: str
    frames_sent: int
    """Frames that this call sent; those stored before are not counted."""


ImportEvent = RunOpened | ShardStored | Waiting | ImportStored


def spec_of(scanned: Scanned) -> Spec:
    """The spec of an imported run: equal sources give equal specs."""
    content = scanned.labels.content
    found = {item.facts.as_is for item in scanned.frames}
    # One encoding a run. Lossless unless every file is a JPEG as it stands.
    rgb = Encoding.JPEG if found == {Encoding.JPEG} else Encoding.PNG
    annotators = ["rgb", *content.annotators]
    if scanned.labels.boxed:
        annotators.append("bounding_box_2d_tight")
    annotators += scanned.labels.rows
    return Spec(
        scene=SceneRef(root=scanned.format, digest=scanned.digest),
        cameras=(
            Camera(
                name=CAMERA,
                width_px=max(item.facts.width for item in scanned.frames),
                height_px=max(item.facts.height for item in scanned.frames),
                placement=UnknownStanding(),
            ),
        ),
        annotators=tuple(annotators),
        encodings={"rgb": rgb},
        renderer=Renderer(backend=BACKEND, variant=VARIANT),
    )


def plan_of(request: ImportRequest) -> Plan:
    """The plan: splits as the source has them; every labelled object counts when scored."""
    scanned = request.scanned
    names = request.class_map
    labels = {name: name for name in scanned.labels.classes} if names is None else dict(names)
    return Plan(
        frames=len(scanned.frames),
        frames_per_shard=request.frames_per_shard,
        split_ranges=scanned.ranges,
        counting=CountingRule(labels=labels, min_visible_fraction=0.0, min_visible_px=0),
    )


def fingerprint_of(scanned: Scanned) -> str:
    """What bytes may depend on besides the source: the decoder, and no machine."""
    return RenderFingerprint(
        backend=BACKEND,
        variant=scanned.format,
        versions=(("import-rules", RULES_VERSION), ("opencv", cv2.__version__)),
        cpu_level="any",
        machine="any",
    ).digest


class Importer:
    """Stores one scanned source; one call of ``store`` an importer.

    Args:
        uploader: stores.
        request: what goes where.
    """

    def __init__(self, uploader: UploaderClient, request: ImportRequest) -> None:
        self._uploader = uploader
        self._request = request
        self._spec = spec_of(request.scanned)
        self._spec_digest = digest(canonical_json(self._spec))
        self._fingerprint = fingerprint_of(request.scanned)
        self._plan = plan_of(request)
        layers = (name for name in self._spec.annotators if ANNOTATORS[name].is_layer)
        self._maker = FrameMaker(
            content=request.scanned.labels.content,
            classes=request.scanned.labels.classes,
            encodings={name: self._spec.encodings[name] for name in layers},
            spec_digest=self._spec_digest,
            fingerprint=self._fingerprint,
        )
        self._max_frame_bytes = max(item.upper_bytes for item in request.scanned.frames)
        self._sent = 0

    async def store(self) -> AsyncGenerator[ImportEvent]:
        """Creates or resumes the run and publishes it; ``ImportStored`` is last.

        Closing the iterator stops between frames; what is durable stays, and the same call with the
        same source resumes.

        Raises:
            AlreadyExists: another source was imported under this name.
            PreconditionFailed: the plan differs from the run's, or the run is aborted.
            Conflict: another importer owns a shard and doesn't get on with it.
            InvalidRequest: a file has changed since it was looked at.
        """
        location, plan = self._request.location, self._plan
        created = await self._uploader.create_run(
            location,
            spec=self._spec,
            plan=plan,
            provenance_json=self._provenance(),
            timeout_s=_RPC_TIMEOUT_S,
        )
        stored = sum(len(item) for item in created.shards if item.shard in created.committed)
        yield RunOpened(
            spec_digest=self._spec_digest,
            created=created.created,
            plan_generation=created.plan_generation,
            planned_frames=plan.frames,
            stored_frames=stored,
            shards=created.shards,
            committed=created.committed,
        )
        for shard in created.shards:
            if shard.shard in created.committed:
                continue
            async with aclosing(self._shard(shard)) as events:
                async for event in events:
                    yield event
        published = await self._uploader.publish_run(
            location, provenance_json=self._provenance(), timeout_s=_RPC_TIMEOUT_S
        )
        yield ImportStored(
            summary=published.summary, spec_digest=self._spec_digest, frames_sent=self._sent
        )

    async def _shard(self, shard: ShardFrames) -> AsyncGenerator[ShardStored | Waiting]:
        """Stores a shard, taking it over from an importer that died."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._request.others_for_s
        while True:
            try:
                yield ShardStored(shard=await self._upload(shard))
                return
            except Conflict as error:
                # The uploader lets us have it once its owner has been silent for `stale_after`.
                if loop.time() >= until:
                    raise
                yield Waiting(reason=error.message, seconds=self._request.others_poll_s)
                await asyncio.sleep(self._request.others_poll_s)

    async def _upload(self, shard: ShardFrames) -> CommittedShard:
        async with self._uploader.open_shard(
            self._request.location,
            shard,
            spec_digest=self._spec_digest,
            fingerprint=self._fingerprint,
            cameras=1,
            max_frame_bytes=self._max_frame_bytes,
        ) as upload:
            if upload.already_committed is not None:
                return upload.already_committed
            first = upload.resume_frame
            while True:
                try:
                    await self._send(upload, range(first, shard.end))
                    return await upload.commit()
                except ResumeMismatch as lost:
                    # What the uploader lost is read again: the same files give the same frames.
                    first = lost.resume_frame

    async def _send(self, upload: ShardUpload, indexes: range) -> None:
        frames = run_ahead(
            indexes,
            self._make,
            cost=lambda index: self._seen(index).upper_bytes,
            budget=_AHEAD_BYTES,
            limit=_AHEAD_FRAMES,
        )
        async with aclosing(frames):
            async for frame in frames:
                await upload.send(frame)
                self._sent += 1

    async def _make(self, index: int) -> EncodedFrame:
        return await self._maker.make(index, self._plan.split_of(index), self._seen(index))

    def _seen(self, index: int) -> LookedAt:
        return self._request.scanned.frames[index]

    def _provenance(self) -> bytes:
        scanned = self._request.scanned
        document = {
            **self._request.provenance,
            "import": {
                "source": scanned.source.label,
                "format": scanned.format,
                "pictures": len(scanned.frames),
                "skipped_pictures": scanned.skipped_pictures,
                "skipped": [str(item) for item in scanned.skipped[:50]],
            },
        }
        return json.dumps(document, sort_keys=True).encode()
