"""`preview` without its options' words: render some frames, write files or a contact sheet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simcloud.annotators import ANNOTATORS
from simcloud.client.renderer import resolve_renderer
from simcloud.dataset.frames import EncodedFrame
from simcloud.errors import InvalidRequest
from simcloud.scene.store import put_bundle
from simcloud.spec.model import Spec
from simcloud_cli.embedded import Part
from simcloud_cli.firstpicture import write_frame
from simcloud_cli.interrupt import run_async
from simcloud_cli.output import console
from simcloud_cli.session import Session, check_spec, in_session
from simcloud_cli.specfile import SpecFile

if TYPE_CHECKING:
    from simcloud_cli.contactsheet import Overlays

SHEET_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOptions:
    """Options of `preview`, as on the command line."""

    frames: range
    annotators: tuple[str, ...]
    """Empty: files of all that the spec has; a sheet of ``rgb``."""
    output: Path
    sheet: Path | None
    cell_width: int
    overlays: Overlays


def preview_spec(spec_file: SpecFile, options: PreviewOptions) -> list[Path]:
    """Renders frames of a spec and writes them; nothing is stored.

    Raises:
        InvalidRequest: the spec, an annotator or the sheet's name is wrong.
    """
    _check_options(options)
    spec = with_annotators(spec_file.spec, options)
    if options.sheet is None:
        options.output.mkdir(parents=True, exist_ok=True)

    async def work(session: Session) -> list[Path]:
        context, generator = session.context, session.generator
        resolved = resolve_renderer(spec, await generator.describe())
        await session.store.check_bucket(context.bucket)
        await put_bundle(
            session.store, spec_file.bundle, bucket=context.bucket, prefix=context.prefix
        )
        out = console(stderr=True)
        await check_spec(session, spec_file, resolved, lambda line: out.print(line, markup=False))
        frames = _rendered(session, resolved, options.frames)
        if options.sheet is None:
            return await _write_files(frames, options.output)
        return [await _write_sheet(frames, resolved, options, options.sheet)]

    return run_async(in_session(frozenset({Part.GENERATOR}), work))


def with_annotators(spec: Spec, options: PreviewOptions) -> Spec:
    """The spec with the annotators that are asked for, and those that drawing needs."""
    wanted = set(options.annotators)
    if options.sheet is not None:
        wanted |= {"rgb"} if not wanted else set()
        if options.overlays.masks and "rgb" in wanted:
            wanted.add("instance_segmentation")
    if not wanted:
        return spec
    names = [name for name in ANNOTATORS if name in wanted]
    kept = {name: how for name, how in spec.encodings.items() if name in wanted}
    raw = spec.model_dump(mode="json", exclude={"annotators", "encodings"})
    return Spec.model_validate({**raw, "annotators": names, "encodings": kept})


def _check_options(options: PreviewOptions) -> None:
    unknown = sorted(set(options.annotators) - set(ANNOTATORS))
    if unknown:
        raise InvalidRequest(
            "--annotators",
            f"there is no {', '.join(unknown)}; there are: {', '.join(ANNOTATORS)}",
        )
    if options.sheet is None:
        return
    from simcloud_cli.contactsheet import check_drawn

    check_drawn(options.annotators)
    if options.sheet.suffix.lower() not in SHEET_SUFFIXES:
        raise InvalidRequest(
            "--sheet", f"{options.sheet} is none of {', '.join(SHEET_SUFFIXES)}: name a picture"
        )
    if not options.sheet.absolute().parent.is_dir():
        raise InvalidRequest(
            "--sheet", f"there is no folder {options.sheet.absolute().parent}: make it first"
        )


async def _rendered(session: Session, spec: Spec, frames: range) -> AsyncIterator[EncodedFrame]:
    stream = session.generator.stream_frames(
        spec, bucket=session.context.bucket, prefix=session.context.prefix, frames=frames
    )
    async with aclosing(stream) as made:
        async for frame in made:
            yield frame


async def _write_files(frames: AsyncIterator[EncodedFrame], folder: Path) -> list[Path]:
    return [path async for frame in frames for path in write_frame(folder, frame)]


async def _write_sheet(
    frames: AsyncIterator[EncodedFrame], spec: Spec, options: PreviewOptions, target: Path
) -> Path:
    import cv2

    from simcloud_cli.contactsheet import cells, sheet

    shown = options.annotators or ("rgb",)
    ordered = [name for name in ANNOTATORS if name in shown]
    rows = [cells(frame, ordered, spec.encodings, options.overlays) async for frame in frames]
    picture = sheet(rows, cell_width=options.cell_width)
    if not cv2.imwrite(str(target), picture):
        raise InvalidRequest("--sheet", f"{target} can't be written")
    return target
