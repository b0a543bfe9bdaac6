"""`simcloud import`: pictures with labels from elsewhere, into a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simcloud_cli.commands.common import JsonOption

if TYPE_CHECKING:
    from simcloud.accounting.report import Report
    from simcloud.importing.scan import Scanned, ScanOptions
    from simcloud.importing.store import ImportRequest, ImportStored
    from simcloud.importing.types import ImportLimits, Source
    from simcloud_cli.exit_codes import ExitCode
    from simcloud_cli.session import Session

_NAMED = 20


def import_source(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Folder, or s3://bucket/prefix, with pictures and their labels."
        ),
    ],
    *,
    run: Annotated[str, typer.Option("--run", help="Name of the run to make, or to go on with.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="auto, coco, yolo, voc, masks, counts, classes, cifar or basicwriter. "
            "auto says what it saw.",
        ),
    ] = "auto",
    labels: Annotated[
        str,
        typer.Option(help="File with labels or class names, relative to the source."),
    ] = "",
    split: Annotated[
        str,
        typer.Option(
            help="auto: the source's splits, else a hash; hash: always that; another word: all "
            "pictures are that split."
        ),
    ] = "auto",
    frames_per_shard: Annotated[
        int, typer.Option(min=1, help="Pictures of a shard; never changes later.")
    ] = 256,
    class_map: Annotated[
        Path | None,
        typer.Option(help="YAML of `class: model's label`, for scoring; by default alike."),
    ] = None,
    skip_bad: Annotated[
        int, typer.Option(min=0, help="Pictures that may be left out for what is wrong with them.")
    ] = 0,
    masks: Annotated[
        bool,
        typer.Option(
            "--masks/--no-masks", help="Paint COCO's polygons and run lengths into id layers."
        ),
    ] = True,
    json: JsonOption = False,
) -> None:
    """Takes pictures with labels from elsewhere into a run, so that a model is scored on them.

    All labels and pictures are looked at first: nothing is stored while anything is wrong. The same
    command again goes on where it stopped.
    """
    from simcloud.importing.scan import ScanOptions

    options = ScanOptions(
        format=form, labels_file=labels, split=split, skip_bad=skip_bad, masks=masks
    )
    raise typer.Exit(
        _import(
            source,
            run,
            options,
            frames_per_shard=frames_per_shard,
            class_map=_read_class_map(class_map),
            json=json,
        )
    )


def _read_class_map(path: Path | None) -> dict[str, str] | None:
    import yaml

    from simcloud.errors import InvalidRequest

    if path is None:
        return None
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest("--class-map", f"{path} can't be read: {error}") from error
    if not isinstance(plain, dict) or not plain:
        raise InvalidRequest("--class-map", f"{path} is no table of `class: model's label`")
    return {str(name): str(label) for name, label in plain.items()}


def _import(
    source: str,
    run: str,
    options: ScanOptions,
    *,
    frames_per_shard: int,
    class_map: dict[str, str] | None,
    json: bool,
) -> ExitCode:
    from simcloud.accounting.reconcile import reconcile
    from simcloud.importing.scan import scan
    from simcloud.importing.store import ImportRequest
    from simcloud.importing.types import ImportLimits
    from simcloud_cli.embedded import Part
    from simcloud_cli.exit_codes import ExitCode
    from simcloud_cli.interrupt import run_async
    from simcloud_cli.naming import provenance
    from simcloud_cli.session import check_run_name, in_session

    async def work(session: Session) -> tuple[Scanned, ImportStored, Report]:
        location = session.location(run)
        limits = ImportLimits()
        scanned = await scan(_source(session, source, limits), options, limits=limits)
        _say_scanned(scanned)
        request = ImportRequest(
            location=location,
            scanned=scanned,
            frames_per_shard=frames_per_shard,
            class_map=class_map,
            provenance=provenance(),
        )
        stored = await _store(session, request)
        return scanned, stored, await reconcile(session.store, location)

    check_run_name(run)
    scanned, stored, counts = run_async(in_session(frozenset({Part.UPLOADER}), work))
    code = ExitCode.COMPLETE if counts.ok else ExitCode.INCOMPLETE
    _print(run, scanned, stored, counts, code, json=json)
    return code


def _source(session: Session, source: str, limits: ImportLimits) -> Source:
    from simcloud.dataset.layout import check_bucket
    from simcloud.importing.sources import BucketSource, LocalSource

    if not source.startswith("s3://"):
        return LocalSource(Path(source).expanduser(), limits)
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    check_bucket(bucket, field="SOURCE")
    return BucketSource(session.store, bucket, prefix, limits=limits)


async def _store(session: Session, request: ImportRequest) -> ImportStored:
    from contextlib import aclosing

    from simcloud.client.events import RunOpened, ShardStored, Waiting
    from simcloud.importing.store import Importer, ImportStored
    from simcloud_cli.output import console, human_bytes

    out = console(stderr=True)
    async with aclosing(Importer(session.uploader, request).store()) as events:
        async for event in events:
            match event:
                case RunOpened():
                    verb = "created" if event.created else "resumed"
                    out.print(
                        f"run {verb}: {event.planned_frames} frames, {event.stored_frames} stored"
                    )
                case ShardStored():
                    shard = event.shard
                    out.print(
                        f"shard {shard.frames.shard} is stored: {shard.stored_frames} frames, "
                        f"{human_bytes(shard.size_bytes)}"
                    )
                case Waiting():
                    out.print(f"waiting {event.seconds:.0f} s: {event.reason}", markup=False)
                case ImportStored():
                    return event
    raise AssertionError("an import ends with ImportStored")


def _say_scanned(scanned: Scanned) -> None:
    from simcloud_cli.output import console

    out = console(stderr=True)
    out.print(f"format: {scanned.format} ({scanned.seen_by})", markup=False)
    splits = ", ".join(f"{name} {count}" for name, count in scanned.splits.items())
    out.print(
        f"{len(scanned.frames)} pictures, {len(scanned.labels.classes)} classes, "
        f"splits: {splits or 'by hash'}",
        markup=False,
    )
    for note in scanned.notes:
        out.print(f"note: {note}", markup=False)
    for problem in scanned.skipped[:_NAMED]:
        out.print(f"skipped: {problem}", markup=False)
    if len(scanned.skipped) > _NAMED:
        out.print(f"... and {len(scanned.skipped) - _NAMED} more; --json lists all")


def _print(
    run: str, scanned: Scanned, stored: ImportStored, counts: Report, code: int, *, json: bool
) -> None:
    from simcloud_cli.counts import counts_json, print_problems
    from simcloud_cli.output import console, print_json

    summary = stored.summary
    if json:
        print_json(
            {
                "run": run,
                "uri": summary.location.uri,
                "exit_code": int(code),
                "format": scanned.format,
                "seen_by": scanned.seen_by,
                "spec_digest": stored.spec_digest,
                "source_digest": scanned.digest,
                "pictures": len(scanned.frames),
                "classes": list(scanned.labels.classes),
                "splits": scanned.splits,
                "notes": list(scanned.notes),
                "skipped_pictures": scanned.skipped_pictures,
                "skipped": [
                    {"file": item.file, "what": item.what, "picture": item.picture}
                    for item in scanned.skipped
                ],
                "frames_sent": stored.frames_sent,
                "accounting": counts_json(counts),
            }
        )
        return
    out = console()
    out.print(
        f"planned {counts.planned}, stored {counts.stored}, sent now {stored.frames_sent}, "
        f"skipped {scanned.skipped_pictures}"
    )
    print_problems(counts)
    out.print(f"data:   {summary.location.uri}", markup=False)
    out.print(f"look:   simcloud runs show {run}; simcloud score {run}", markup=False)
