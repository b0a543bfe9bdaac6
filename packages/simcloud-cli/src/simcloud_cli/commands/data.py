"""`simcloud verify`: is what is stored whole."""

from __future__ import annotations

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
    discard: Annotated[
        bool,
        typer.Option(
            "--discard-broken",
            help="Delete shards and predictions that are not what their index or checksums say, "
            "so that `resume` or `score` makes them again.",
        ),
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
    from simcloud_cli.repair import discard_broken, repair_indexes
    from simcloud_cli.session import Session, check_run_name, in_session

    check_run_name(run)

    async def work(session: Session) -> Report:
        location = session.location(run)
        if repair:
            for number in await repair_indexes(session.store, location):
                console(stderr=True).print(f"shard {number}: index written")
        key = await stored_model(session.store, location, model) if model else None
        found = await reconcile(session.store, location, deep=deep, sample=sample, model=key)
        gone = await discard_broken(session.store, found) if discard else []
        for item in gone:
            console(stderr=True).print(f"deleted: {item}", markup=False)
        return await reconcile(session.store, location, model=key) if gone else found

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
            ["planned", "stored", "quarantined", "scored", "published", "size", "checked"],
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
        if report.aborted:
            console().print("this run was aborted: no shard of it can be stored any more")
        print_problems(report)
    raise typer.Exit(code)
