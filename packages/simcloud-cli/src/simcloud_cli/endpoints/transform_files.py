"""What a transform job reads and writes in S3: pictures, their list, its record, its answers.

SageMaker reads whole objects, so that a run's pictures are put beside the run, one object each.
What an answer is called is known by its last part alone: SageMaker's documents differ in whether
the folders of an input come back in the output ("TransformOutput", S3OutputPath), so that names are
told apart without their folders.

A job's pictures, list and answers are in folders of its name: of two callers neither touches what
another job still reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from simcloud.dataset.frames import FrameRef
from simcloud.dataset.layout import ModelKey, RunLocation, check_prefix
from simcloud.dataset.reader import Dataset
from simcloud.errors import Conflict, Corruption, InvalidRequest
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.scoring.labels import PICTURE
from simcloud.scoring.types import FrameKey

_ENDINGS = {"image/png": "png", "image/jpeg": "jpg"}
_ANY_PICTURE = "application/x-image"
"""What SageMaker's own image containers call a picture of any encoding, and ours too."""
_AT_ONCE = 16
"""Pictures on their way at once: that many are in memory."""


class JobRecord(BaseModel):
    """The job that is begun, or about to be.

    Who scores the run meanwhile, or after a call that was killed, begins it if need be, waits for
    it and reads its answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["simcloud.transform/v2"] = "simcloud.transform/v2"
    job: str
    """Name of the transform job: SageMaker begins one of a name, however many ask."""
    output_prefix: str
    """Key prefix of its answers."""
    shards: Mapping[int, str]
    """CRC of the tar, as the manifest has it, by the number of each shard whose pictures it is
    given: another run may be called the same by now."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a job wrote."""

    keys: Mapping[str, str]
    """Key of the answer to a picture, by the picture's name."""
    doubled: frozenset[str]
    """Pictures with two answers, of which none can be trusted."""
    others: int
    """Objects that answer no picture."""


class TransformFiles:
    """The place of one run and model.

    Args:
        store: S3.
        location: the run; everything is in its bucket.
        model: whose predictions are made.
        input_prefix: key prefix that the model's role may read.
        output_prefix: key prefix that it may write.

    Raises:
        InvalidRequest: a prefix can't be one.
    """

    def __init__(
        self,
        store: ObjectStore,
        location: RunLocation,
        model: ModelKey,
        *,
        input_prefix: str,
        output_prefix: str,
    ) -> None:
        check_prefix(input_prefix, field="--batch-input")
        check_prefix(output_prefix, field="--batch-output")
        self._store = store
        self._bucket = location.bucket
        # Runs of one name may be below several prefixes of a bucket.
        where = hashlib.sha256(location.root.encode()).hexdigest()[:8]
        folder = f"{location.run}-{where}/{model.model}-{model.digest}"
        self._inputs = "/".join(filter(None, [input_prefix, folder]))
        self._outputs = "/".join(filter(None, [output_prefix, folder]))

    def manifest_uri(self, job: str) -> str:
        """Where the list of a job's pictures is."""
        return f"s3://{self._bucket}/{self._manifest_key(job)}"

    def output_prefix(self, job: str) -> str:
        """Key prefix of a job's answers."""
        return f"{self._outputs}/{job}"

    def uri(self, prefix: str) -> str:
        """A key prefix of the run's bucket as SageMaker is told it."""
        return f"s3://{self._bucket}/{prefix}"

    async def record(self) -> JobRecord | None:
        """The job that is under way, None when there is none or its answers were read.

        Raises:
            Corruption: the record can't be read.
        """
        try:
            body = await self._store.get(self._bucket, self._record_key)
            return JobRecord.model_validate_json(body.data)
        except NoSuchKey:
            return None
        except ValidationError as error:
            raise Corruption(
                f"s3://{self._bucket}/{self._record_key} is no record of a transform job: look at "
                "it, then delete it"
            ) from error

    async def keep(self, record: JobRecord) -> None:
        """Writes the record, before anything else is: what bills, and what lies there, is known.

        Raises:
            Conflict: another call begins a job of the same run and model.
        """
        data = record.model_dump_json().encode()
        outcome = await self._store.put_if_absent(self._bucket, self._record_key, data)
        if not outcome.created:
            raise Conflict(
                f"another call has begun a transform job for the same run and model (s3://"
                f"{self._bucket}/{self._record_key}): the same command waits for it"
            )

    async def stage(
        self, job: str, dataset: Dataset, pictures: Mapping[FrameKey, FrameRef]
    ) -> list[str]:
        """Puts a job's pictures beside the run, each checked against its CRC; their names."""

        async def put(item: tuple[FrameKey, FrameRef]) -> str:
            (frame, camera), ref = item
            name = picture_name(item[0], ref)
            data = await dataset.layer(frame, camera, PICTURE)
            await self._store.put(
                self._bucket, self._picture_key(job, name), data, content_type=ref.media_type
            )
            return name

        return await for_each(pictures.items(), put, limit=_AT_ONCE)

    async def write_manifest(self, job: str, names: Sequence[str]) -> None:
        """The list of a job's pictures, as S3DataType ManifestFile takes it."""
        prefix = f"s3://{self._bucket}/{self._picture_key(job, '')}"
        data = json.dumps([{"prefix": prefix}, *names]).encode()
        await self._store.put(self._bucket, self._manifest_key(job), data)

    async def answers(self, record: JobRecord) -> Answers:
        """What a job wrote, by the names of its pictures."""
        keys: dict[str, str] = {}
        doubled: set[str] = set()
        others = 0
        async for row in self._store.list_keys(self._bucket, f"{record.output_prefix}/"):
            name = row.key.rpartition("/")[2]
            if not name.endswith(".out"):
                others += 1
                continue
            picture = name.removesuffix(".out")
            if picture in keys:
                doubled.add(picture)
            keys[picture] = row.key
        return Answers(keys=keys, doubled=frozenset(doubled), others=others)

    async def answer(self, key: str) -> bytes:
        """An answer's bytes."""
        return (await self._store.get(self._bucket, key)).data

    async def clear(self, record: JobRecord, *, keep_files: bool) -> None:
        """Forgets a job whose answers were read; its pictures and answers go too.

        The record goes last, so that nothing is left that nobody knows of; and only if it is still
        this job's: another call may have read the answers too, and begun the next one.

        Between that look and the delete the other call may begin it just then, whose record is then
        lost: S3 compares when it writes, and not every server does when it deletes. Predictions
        stay what they are, since a shard's are written once (If-None-Match), and the caller of that
        job needs no record to wait for it, read it and clear it. What the race can cost is money,
        where that caller is killed too, or a third one comes meanwhile: a job whose answers nobody
        reads, or the same pictures asked twice.
        """
        if not keep_files:
            for prefix in (f"{record.output_prefix}/", f"{self._inputs}/{record.job}/"):
                rows = self._store.list_keys(self._bucket, prefix)
                await self._store.delete_many(self._bucket, [row.key async for row in rows])
        now = await self.record()
        if now is not None and now.job == record.job:
            await self._store.delete_many(self._bucket, [self._record_key])

    @property
    def _record_key(self) -> str:
        return f"{self._inputs}/job.json"

    def _manifest_key(self, job: str) -> str:
        return f"{self._inputs}/{job}/pictures.manifest"

    def _picture_key(self, job: str, name: str) -> str:
        return f"{self._inputs}/{job}/pictures/{name}"


def picture_name(key: FrameKey, ref: FrameRef) -> str:
    """What a frame's picture is called: unlike any other of its run, without its folder."""
    return f"{key[0]:09d}.{key[1]}.{_ENDINGS.get(ref.media_type, 'img')}"


def content_type(types: set[str]) -> str:
    """What pictures of these media types are sent to the model as: a job has one for all."""
    return next(iter(types)) if len(types) == 1 else _ANY_PICTURE


def check_sizes(pictures: Mapping[FrameKey, FrameRef], *, most_bytes: int) -> None:
    """Returns when every picture may be sent to the model.

    Raises:
        InvalidRequest: one is too large; it is named.
    """
    for (frame, camera), ref in pictures.items():
        if ref.length > most_bytes:
            raise InvalidRequest(
                "--max-payload-mb",
                f"the picture of frame {frame} camera {camera} has {ref.length} bytes, a request "
                f"at most {most_bytes}: give a larger one, up to 100 over --concurrent",
            )
