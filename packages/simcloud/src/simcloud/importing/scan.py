"""A source looked at whole, before anything of it is stored: fail closed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from simcloud.concurrency.ahead import run_ahead
from simcloud.dataset.encode import Array
from simcloud.errors import InvalidRequest, NotFound
from simcloud.importing.detect import READERS, detect
from simcloud.importing.frame import LookedAt, records, upper_bytes
from simcloud.importing.pictures import PictureFacts, look_at
from simcloud.importing.sources import CheckedSource
from simcloud.importing.splits import UNASSIGNED, split_rank
from simcloud.importing.types import (
    FORMATS,
    ImportLimits,
    Labels,
    Problem,
    Problems,
    ReaderInput,
    Source,
    SourceFrame,
)
from simcloud.spec.plan import SplitRange

_NAMED = 20
_BYTES_AHEAD = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """What is to be looked at, and how strictly."""

    format: str = "auto"
    """One of ``FORMATS``, or ``auto``."""
    labels_file: str = ""
    """File with labels or class names, relative to the source; empty: the format's usual one."""
    split: str = "auto"
    """``auto``: the source's own splits, where it has any; ``hash``: the plan's; another word: all
    of it is that split."""
    skip_bad: int = 0
    """Pictures that may be left out for what is wrong with them."""
    masks: bool = True
    """Whether outlines (COCO's polygons and run lengths) are painted into id layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A source that can be imported."""

    source: CheckedSource
    format: str
    seen_by: str
    """What told the format."""
    labels: Labels
    frames: tuple[LookedAt, ...]
    """In the order of their frame indexes: by split, then by name."""
    ranges: tuple[SplitRange, ...]
    """Splits; empty: the plan's hash."""
    skipped: tuple[Problem, ...]
    """What was wrong with the pictures that are left out."""
    skipped_pictures: int
    notes: tuple[str, ...]
    digest: str
    """SHA-256 over names, sizes and contents of all files that were read."""

    @property
    def splits(self) -> dict[str, int]:
        """Frames by split; empty where the plan's hash decides."""
        first, result = 0, {}
        for item in self.ranges:
            result[item.split] = item.end - first
            first = item.end
        return result


async def scan(
    source: Source,
    options: ScanOptions,
    *,
    limits: ImportLimits,
    looked: Callable[[int, int], None] = lambda done, total: None,
) -> Scanned:
    """Reads all labels and looks at every picture.

    Args:
        source: where they are.
        options: what is to be looked at.
        limits: what a source may ask for.
        looked: told how many pictures were looked at, and how many there are.

    Raises:
        InvalidRequest: anything is wrong, beyond what may be skipped; files are named.
        NotFound: no pictures.
    """
    if options.format not in {"auto", *FORMATS}:
        raise InvalidRequest("--format", f"{options.format!r} is none of {', '.join(FORMATS)}")
    problems = Problems()
    checked = CheckedSource(source)
    given = await _given(checked, options, limits, problems)
    form, seen_by = options.format, "--format"
    if form == "auto":
        # Past the checked source: what only tells the format is no part of the digest.
        form, seen_by = await detect(replace(given, source=source))
    labels = await READERS[form](given)
    _check_names(labels, problems)
    _refuse(source.label, problems, options.skip_bad)
    frames = await _look_at_all(labels, limits, problems, looked)
    _refuse(source.label, problems, options.skip_bad)
    frames = [item for item in frames if item.frame.key not in problems.skippable]
    if not frames:
        raise NotFound(f"{source.label} has no pictures that could be imported as {form}")
    ordered, ranges = _in_splits(frames, options.split)
    return Scanned(
        source=checked,
        format=form,
        seen_by=seen_by,
        labels=labels,
        frames=ordered,
        ranges=ranges,
        skipped=tuple(problems.found),
        skipped_pictures=len(problems.skippable),
        notes=tuple(problems.notes),
        digest=checked.digest(),
    )


async def _given(
    source: CheckedSource, options: ScanOptions, limits: ImportLimits, problems: Problems
) -> ReaderInput:
    files = {item.name: item for item in await source.files(problems)}
    if options.labels_file and options.labels_file not in files:
        raise NotFound(f"--labels {options.labels_file}: there is no such file in {source.label}")
    return ReaderInput(
        source=source,
        files=files,
        limits=limits,
        problems=problems,
        labels_file=options.labels_file,
        masks=options.masks,
    )


def _check_names(labels: Labels, problems: Problems) -> None:
    """Names that would stand for two things on another machine."""
    for key, count in Counter(frame.key for frame in labels.frames).items():
        if count > 1:
            problems.add(key, f"stands {count} times in the labels", picture=key)
    folded = Counter(frame.key.casefold() for frame in labels.frames)
    for frame in labels.frames:
        if folded[frame.key.casefold()] > 1:
            what = "differs from another picture's name in upper and lower case alone"
            problems.add(frame.key, what, picture=frame.key)


def _refuse(label: str, problems: Problems, skip_bad: int) -> None:
    bad = problems.skippable
    if not problems.fatal and len(bad) <= skip_bad:
        return
    shown = (problems.fatal or problems.found)[:_NAMED]
    lines = "\n".join(f"  {item}" for item in shown)
    more = len(problems.found) - len(shown)
    rest = f"\n  ... and {more} more" if more else ""
    advice = (
        f"--skip-bad {len(bad)} leaves these {len(bad)} out"
        if not problems.fatal
        else "mend the files"
    )
    raise InvalidRequest(
        label, f"nothing is imported; {advice}:\n{lines}{rest}", problems=len(problems.found)
    )


async def _look_at_all(
    labels: Labels,
    limits: ImportLimits,
    problems: Problems,
    looked: Callable[[int, int], None],
) -> list[LookedAt]:
    async def look(frame: SourceFrame) -> LookedAt | Problem:
        try:
            return await _look(frame, labels, limits)
        except InvalidRequest as error:
            return Problem(file=error.field, what=error.problem, picture=frame.key)

    found: list[LookedAt] = []
    results = run_ahead(
        labels.frames,
        look,
        cost=lambda _: limits.picture_bytes,
        budget=_BYTES_AHEAD,
        limit=limits.parallel,
    )
    async with aclosing(results):
        done = 0
        async for result in results:
            done += 1
            looked(done, len(labels.frames))
            if isinstance(result, Problem):
                problems.found.append(result)
            else:
                found.append(result)
    return found


async def _look(frame: SourceFrame, labels: Labels, limits: ImportLimits) -> LookedAt:
    rgb = await labels.content.rgb(frame)
    try:
        facts = await asyncio.to_thread(_facts, rgb, limits)
    except ValueError as error:
        raise InvalidRequest(frame.picture, str(error)) from error
    size = (facts.width, facts.height)
    if frame.declared is not None and frame.declared != size:
        raise InvalidRequest(
            frame.picture,
            f"is {size[0]}x{size[1]} upright, its labels say "
            f"{frame.declared[0]}x{frame.declared[1]}",
        )
    content = await labels.content.content(frame, size)
    if len(content.objects) > limits.objects:
        raise InvalidRequest(
            frame.picture, f"has {len(content.objects)} objects; at most {limits.objects} are taken"
        )
    records(content.objects, labels.classes, facts)
    file_bytes = len(rgb) if isinstance(rgb, bytes) else rgb.nbytes
    upper = upper_bytes(facts, file_bytes, labels.content.annotators, len(content.objects))
    return LookedAt(frame=frame, facts=facts, upper_bytes=upper)


def _facts(rgb: bytes | Array, limits: ImportLimits) -> PictureFacts:
    if isinstance(rgb, bytes):
        return look_at(rgb, limits)
    return PictureFacts(width=rgb.shape[1], height=rgb.shape[0], as_is=None)


def _in_splits(
    frames: list[LookedAt], wanted: str
) -> tuple[tuple[LookedAt, ...], tuple[SplitRange, ...]]:
    """Frames in their order, and the splits as ranges of it."""
    by_name = sorted(frames, key=lambda item: item.frame.key)
    splits = {item.frame.split for item in frames}
    if wanted == "hash" or (wanted == "auto" and splits == {""}):
        return tuple(by_name), ()
    if wanted != "auto":
        return tuple(by_name), (SplitRange(split=wanted, end=len(by_name)),)
    ordered: list[LookedAt] = []
    ranges = []
    for split in sorted(splits, key=lambda item: split_rank(item or UNASSIGNED)):
        ordered += [item for item in by_name if item.frame.split == split]
        ranges.append(SplitRange(split=split or UNASSIGNED, end=len(ordered)))
    return tuple(ordered), tuple(ranges)
