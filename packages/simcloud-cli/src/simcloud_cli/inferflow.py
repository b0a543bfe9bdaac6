"""`infer` without its options' words."""

from __future__ import annotations

import json as json_module
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path

from simcloud.client.router import Frame, FrameAnswer, Picture
from simcloud.dataset.frames import FrameRef
from simcloud.errors import InvalidRequest
from simcloud.report.overlays import decode, draw_detections, jpeg
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.decode import decode_detections
from simcloud.scoring.job import find_model
from simcloud.scoring.types import Detection
from simcloud_cli.embedded import Part
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.interrupt import run_async
from simcloud_cli.output import console, print_json, print_table
from simcloud_cli.session import Session, in_session

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
"""Pictures that models take, by the end of their name."""


@dataclass(frozen=True, slots=True)
class Source:
    """One picture to be looked at."""

    name: str
    path: Path | None
    """On this machine; None for one in S3."""
    ref: FrameRef | None

    @property
    def media_type(self) -> str:
        """By the end of its name."""
        return MEDIA_TYPES[Path(self.name).suffix.lower()]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model saw in one picture."""

    name: str
    code: int
    message: str
    detections: tuple[Detection, ...]
    drawn: str
    """Path of the picture with boxes; empty when there was no answer."""
    target: str
    total_s: float


def infer_paths(
    paths: Sequence[str], model: str, threshold: float, output: Path, *, json: bool
) -> ExitCode:
    """Sends pictures, draws the answers to ``output`` and prints them."""

    async def work(session: Session) -> list[Seen]:
        info = await find_model(session.router, model)
        sources = [item for path in paths for item in await _sources(session.store, path)]
        return await _look(session, sources, info.name, threshold, output)

    output.mkdir(parents=True, exist_ok=True)
    seen = run_async(in_session(frozenset({Part.ROUTER}), work))
    document = [{**asdict(item), "detections": _boxes(item.detections)} for item in seen]
    (output / "detections.json").write_text(json_module.dumps(document, indent=1) + "\n")
    if json:
        print_json(document)
    else:
        print_table(
            model,
            ["picture", "seen", "ms"],
            [(item.name, _words(item), f"{1000 * item.total_s:.0f}") for item in seen],
        )
        console().print(f"pictures with boxes and detections.json: {output}", markup=False)
    return ExitCode.COMPLETE if all(item.code == 0 for item in seen) else ExitCode.INCOMPLETE


async def _sources(store: ObjectStore, text: str) -> list[Source]:
    """Pictures that a path means.

    Raises:
        InvalidRequest: none.
    """
    found = await _in_s3(store, text) if text.startswith("s3://") else _on_disk(Path(text))
    if not found:
        endings = ", ".join(MEDIA_TYPES)
        raise InvalidRequest(text, f"is no picture and holds none ({endings})")
    return found


def _on_disk(path: Path) -> list[Source]:
    if not path.exists():
        raise InvalidRequest(str(path), "there is no such file or folder")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [
        Source(name=str(file), path=file, ref=None)
        for file in files
        if file.is_file() and file.suffix.lower() in MEDIA_TYPES
    ]


async def _in_s3(store: ObjectStore, uri: str) -> list[Source]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return [
        Source(
            name=f"s3://{bucket}/{row.key}",
            path=None,
            ref=FrameRef(
                bucket=bucket,
                key=row.key,
                etag=row.etag,
                offset=0,
                length=row.size_bytes,
                media_type=MEDIA_TYPES[Path(row.key).suffix.lower()],
            ),
        )
        async for row in store.list_keys(bucket, key)
        if Path(row.key).suffix.lower() in MEDIA_TYPES and row.size_bytes
    ]


async def _look(
    session: Session, sources: Sequence[Source], model: str, threshold: float, output: Path
) -> list[Seen]:
    async def frames() -> AsyncIterator[Frame]:
        for number, source in enumerate(sources):
            picture = source.ref or Picture(source.media_type, _bytes(source))
            yield Frame(id=str(number), picture=picture)

    seen = []
    answers = session.router.infer_frames(
        model, frames(), parameters={"score_threshold": str(threshold)}
    )
    async with aclosing(answers):
        async for answer in answers:
            number = int(answer.id)
            seen.append(await _seen(session.store, sources[number], number, answer, output))
    return seen


async def _seen(
    store: ObjectStore, source: Source, number: int, answer: FrameAnswer, output: Path
) -> Seen:
    detections: tuple[Detection, ...] = ()
    drawn = ""
    if answer.ok:
        detections = decode_detections(answer.body, media_type=answer.media_type)
        data = _bytes(source) if source.ref is None else await _fetch(store, source.ref)
        # Two folders may hold the same name: the number keeps their pictures apart.
        path = output / f"{number:05d}.{Path(source.name).stem}.jpg"
        path.write_bytes(jpeg(draw_detections(decode(data), detections)))
        drawn = str(path)
    return Seen(
        name=source.name,
        code=answer.code,
        message=answer.message,
        detections=detections,
        drawn=drawn,
        target=answer.target,
        total_s=answer.total_s,
    )


def _bytes(source: Source) -> bytes:
    assert source.path is not None
    return source.path.read_bytes()


async def _fetch(store: ObjectStore, ref: FrameRef) -> bytes:
    return (await store.get(ref.bucket, ref.key, if_match=ref.etag)).data


def _words(item: Seen) -> str:
    if item.code:
        return f"no answer: {item.message}"
    return ", ".join(f"{one.label} {one.score:.2f}" for one in item.detections) or "nothing"


def _boxes(detections: Sequence[Detection]) -> list[dict[str, object]]:
    return [
        {
            "label": item.label,
            "class_id": item.class_id,
            "score": item.score,
            "box_xyxy_px": list(item.box),
        }
        for item in detections
    ]
