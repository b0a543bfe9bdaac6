"""`simcloud verify` and `simcloud preview`: is what is stored whole, what will a spec look like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simcloud_cli.commands.common import AllowQuarantineOption, JsonOption, RunArgument


def verify(
    run: RunArgument,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every byte and check it against its checksums.")
    ] = False,
    sample: Annotated[
        int, typer.Option(min=0, help="Also read the layers of this many frames, at random.")
    ] = 0,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="First write the index of shards whose tar is there."),
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Also count this model's predictions.")
    ] = None,
    allow_quarantine: AllowQuarantineOption = 0,
    json: JsonOption = False,
) -> None:
    """Counts a run in S3 and lists every frame that is missing, and why."""
    from simcloud.accounting.reconcile import reconcile
    from simcloud.accounting.report import Report
    from simcloud_cli.counts import counts_json, print_problems
    from simcloud_cli.exit_codes import ExitCode
    from simcloud_cli.flow import stored_model
    from simcloud_cli.interrupt import run_async
    from simcloud_cli.output import console, human_bytes, print_json, print_table
    from simcloud_cli.repair import repair_indexes
    from simcloud_cli.session import Session, in_session

    async def work(session: Session) -> Report:
        location = session.location(run)
        if repair:
            for number in await repair_indexes(session.store, location):
                console(stderr=True).print(f"shard {number}: index written")
        key = await stored_model(session.store, location, model) if model else None
        return await reconcile(session.store, location, deep=deep, sample=sample, model=key)

    report = run_async(in_session(frozenset(), work))
    code = ExitCode.COMPLETE
    if not report.complete_with_quarantine:
        code = ExitCode.INCOMPLETE
    elif report.quarantined > allow_quarantine:
        code = ExitCode.QUARANTINED
    if json:
        print_json({"run": run, "exit_code": int(code), **counts_json(report)})
    else:
        print_table(
            "",
            ["planned", "stored", "quarantined", "scored", "published", "stored", "checked"],
            [
                (
                    report.planned,
                    report.stored,
                    report.quarantined,
                    report.scored,
                    "yes" if report.published else "no",
                    human_bytes(report.stored_bytes),
                    human_bytes(report.bytes_checked),
                )
            ],
        )
        print_problems(report)
    raise typer.Exit(code)


def preview(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC", help="Spec's YAML, or the folder of a spec.yaml.")
    ],
    *,
    frame: Annotated[int, typer.Option("--frame", "-f", min=0, help="Frame index.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the pictures and labels.")
    ] = Path("preview"),
    json: JsonOption = False,
) -> None:
    """Renders one frame of a spec, with its labels, to files; nothing is stored."""
    from simcloud.client.run import resolve_renderer
    from simcloud.dataset.frames import EncodedFrame
    from simcloud.errors import InvalidRequest
    from simcloud.scene.store import put_bundle
    from simcloud_cli.embedded import Part
    from simcloud_cli.firstpicture import write_frame
    from simcloud_cli.interrupt import run_async
    from simcloud_cli.output import console, print_json
    from simcloud_cli.session import Session, in_session
    from simcloud_cli.specfile import read_spec_file

    spec_file = read_spec_file(spec)

    async def work(session: Session) -> list[EncodedFrame]:
        context, generator = session.context, session.generator
        where = {"bucket": context.bucket, "prefix": context.prefix}
        await put_bundle(session.store, spec_file.bundle, **where)
        resolved = resolve_renderer(spec_file.spec, await generator.describe())
        check = await generator.validate(resolved, **where)
        out = console(stderr=True)
        for warning in check.warnings:
            out.print(f"warning: {warning}", markup=False)
        if not check.valid:
            found = "; ".join(f"{field}: {problem}" for field, problem in check.violations)
            raise InvalidRequest(str(spec_file.path), found)
        return await generator.preview(resolved, frame=frame, **where)

    frames = run_async(in_session(frozenset({Part.GENERATOR}), work))
    output.mkdir(parents=True, exist_ok=True)
    written = [str(path) for item in frames for path in write_frame(output, item)]
    if json:
        print_json({"frame": frame, "files": written})
        return
    for path in written:
        console().print(path, markup=False)
