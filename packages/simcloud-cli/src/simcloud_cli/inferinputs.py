"""What the arguments of `simcloud infer` mean: pictures, folders, patterns, videos, S3."""

from __future__ import annotations

import glob
import os
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from simcloud.client.pictures import picture_of
from simcloud.client.router import Picture
from simcloud.dataset.frames import FrameRef
from simcloud.errors import InvalidRequest, SimcloudError
from simcloud.rpc.channel import MAX_MESSAGE_BYTES
from simcloud.s3.objects import ObjectStore
from simcloud_cli.videoframes import ENDINGS as VIDEO_ENDINGS
from simcloud_cli.videoframes import Sampling, sampled_frames

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
"""Pictures that models take, by the end of their name."""
_MAX_PICTURE_BYTES = MAX_MESSAGE_BYTES - (64 << 10)
"""Of one that is sent: a message, less what is in it beside the picture."""
_WANTED = ", ".join([*MEDIA_TYPES, *VIDEO_ENDINGS])


@dataclass(frozen=True, slots=True)
class Input:
    """One picture to be looked at."""

    name: str
    """Its path, its URI, or ``<video>#<frame index>``."""
    stem: str
    """Of the name of its drawing."""
    picture: Picture | FrameRef
    frame: int | None = None
    """Index in a video."""
    time_s: float | None = None
    """From a video's first frame."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that can't be looked at."""

    name: str
    error: SimcloudError


@dataclass(frozen=True, slots=True)
class S3Place:
    """An object, or all whose keys begin so."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


Place = Path | S3Place


def places_of(arguments: Sequence[str]) -> list[Place]:
    """What the arguments name; nothing is read yet.

    Raises:
        InvalidRequest: one of them names nothing on this machine's disk, or no picture.
    """
    return [place for argument in arguments for place in _places(argument)]


async def each_input(
    places: Sequence[Place], store: ObjectStore, sampling: Sampling
) -> AsyncGenerator[Input | Problem, None]:
    """The pictures of all places in their order, each read when it is asked for.

    A place, or a picture in it, that can't be read is a ``Problem``, and the rest goes on.
    """
    for place in places:
        found = _in_s3(store, place) if isinstance(place, S3Place) else _in_path(place, sampling)
        try:
            async with aclosing(found):
                async for item in found:
                    yield item
        except SimcloudError as error:
            yield Problem(str(place), error)


def _places(argument: str) -> list[Place]:
    if argument.startswith("s3://"):
        bucket, _, key = argument.removeprefix("s3://").partition("/")
        if not bucket:
            raise InvalidRequest(argument, "expected s3://bucket/prefix or s3://bucket/key")
        return [S3Place(bucket, key)]
    # A file may be called "[1].png": a name that is there is no pattern.
    paths: Sequence[Path] = [Path(argument)]
    if not paths[0].exists() and glob.has_magic(argument):
        # What a pattern catches beside pictures was not asked for by name.
        found = [Path(item) for item in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207
        paths = [path for path in found if path.is_dir() or _wanted(path)]
        if not paths:
            raise InvalidRequest(argument, f"no picture or video has such a name ({_WANTED})")
        return list(paths)
    _check(paths[0])
    return list(paths)


def _check(path: Path) -> None:
    if not path.exists():
        raise InvalidRequest(str(path), "there is no such file or folder")
    if next(_files(path), None) is None:
        raise InvalidRequest(str(path), f"is no picture or video and holds none ({_WANTED})")


def _files(path: Path) -> Iterator[Path]:
    """Pictures and videos of a path; of a folder's tree one folder's names are held at a time."""
    if not path.is_dir():
        if _wanted(path):
            yield path
        return
    for folder, below, names in os.walk(path):
        below.sort()
        yield from (item for name in sorted(names) if _wanted(item := Path(folder, name)))


def _wanted(path: Path) -> bool:
    return _ending(path.name) in MEDIA_TYPES or _ending(path.name) in VIDEO_ENDINGS


def _ending(name: str) -> str:
    return Path(name).suffix.lower()


async def _in_path(path: Path, sampling: Sampling) -> AsyncGenerator[Input | Problem, None]:
    for file in _files(path):
        try:
            if _ending(file.name) in VIDEO_ENDINGS:
                async with aclosing(sampled_frames(file, sampling)) as frames:
                    async for frame in frames:
                        name, stem = f"{file}#{frame.index}", f"{file.stem}.{frame.index:06d}"
                        yield Input(name, stem, frame.picture, frame.index, frame.time_s)
            else:
                yield Input(str(file), file.stem, _read(file))
        except SimcloudError as error:
            yield Problem(str(file), error)


def _read(file: Path) -> Picture | FrameRef:
    if (size := file.stat().st_size if file.exists() else 0) > _MAX_PICTURE_BYTES:
        raise InvalidRequest(
            str(file), f"has {size} bytes, a message {_MAX_PICTURE_BYTES} at most: scale it down"
        )
    return picture_of(file)


async def _in_s3(store: ObjectStore, place: S3Place) -> AsyncGenerator[Input | Problem, None]:
    if _ending(place.key) in MEDIA_TYPES:
        info = await store.find(place.bucket, place.key)
        if info is not None:
            yield _stored(place.bucket, place.key, info.etag, info.size_bytes)
            return
    found = False
    async for row in store.list_keys(place.bucket, place.key):
        if _ending(row.key) in MEDIA_TYPES:
            found = True
            yield _stored(place.bucket, row.key, row.etag, row.size_bytes)
        elif _ending(row.key) in VIDEO_ENDINGS:
            found = True
            uri = str(S3Place(place.bucket, row.key))
            yield Problem(uri, InvalidRequest(uri, "videos are read from disk: download it first"))
    if not found:
        endings = ", ".join(MEDIA_TYPES)
        raise InvalidRequest(str(place), f"no key that begins so is a picture's ({endings})")


def _stored(bucket: str, key: str, etag: str, size_bytes: int) -> Input:
    ref = FrameRef(
        bucket=bucket,
        key=key,
        etag=etag,
        offset=0,
        length=size_bytes,
        media_type=MEDIA_TYPES[_ending(key)],
    )
    return Input(f"s3://{bucket}/{key}", Path(key).stem, ref)
