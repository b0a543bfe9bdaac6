"""`simcloud runs`: what is stored."""

from __future__ import annotations

from typing import Annotated

import typer

from simcloud_cli.commands.common import JsonOption, RunArgument

app = typer.Typer(help="Runs of the context's bucket.", no_args_is_help=True)


@app.command("list")
def list_runs(json: JsonOption = False) -> None:
    """All runs below the context's prefix, by name."""
    from simcloud.client.uploader import RunSummary
    from simcloud_cli.embedded import Part
    from simcloud_cli.interrupt import run_async
    from simcloud_cli.output import console, human_bytes, print_json, print_table
    from simcloud_cli.session import Session, in_session

    async def work(session: Session) -> list[RunSummary]:
        context, token = session.context, ""
        found: list[RunSummary] = []
        while True:
            page = await session.uploader.list_runs(
                context.bucket, context.prefix, page_size=1000, page_token=token
            )
            found.extend(page.runs)
            token = page.next_page_token
            if not token:
                return found

    summaries = run_async(in_session(frozenset({Part.UPLOADER}), work))
    if json:
        print_json([summary_json(item) for item in summaries])
        return
    print_table(
        "",
        ["run", "state", "stored", "planned", "quarantined", "shards", "size", "created"],
        [
            (
                item.location.run,
                "damaged" if item.problem else item.state.value,
                item.stored_frames,
                item.planned_frames,
                item.quarantined_frames,
                f"{item.committed_shards}/{item.planned_shards}",
                human_bytes(item.stored_bytes),
                f"{item.create_time:%Y-%m-%d %H:%M}",
            )
            for item in summaries
        ],
    )
    for item in summaries:
        if item.problem:
            console(stderr=True).print(f"{item.location.run}: {item.problem}", markup=False)


@app.command("show")
def show(run: RunArgument, json: JsonOption = False) -> None:
    """One run: how far it is, its spec and its plan."""
    from simcloud.client.uploader import Run
    from simcloud_cli.embedded import Part
    from simcloud_cli.interrupt import run_async
    from simcloud_cli.output import human_bytes, print_json, print_table
    from simcloud_cli.session import Session, check_run_name, in_session

    check_run_name(run)

    async def work(session: Session) -> Run:
        return await session.uploader.get_run(session.location(run))

    found = run_async(in_session(frozenset({Part.UPLOADER}), work))
    summary = found.summary
    if json:
        print_json(
            {
                **summary_json(summary),
                "spec": found.spec.model_dump(mode="json"),
                "plan": found.plan.model_dump(mode="json"),
            }
        )
        return
    missing = ", ".join(str(item.shard) for item in summary.missing[:20])
    print_table(
        "",
        ["", summary.location.uri],
        [
            ("state", summary.state.value),
            ("spec digest", summary.spec_digest),
            (
                "frames",
                f"{summary.stored_frames} of {summary.planned_frames} stored, "
                f"{summary.quarantined_frames} quarantined",
            ),
            *(
                (f"quarantined by {rule}", str(count))
                for rule, count in summary.quarantined_by_rule.items()
            ),
            ("shards", f"{summary.committed_shards} of {summary.planned_shards}"),
            ("missing shards", missing or "none"),
            ("size", human_bytes(summary.stored_bytes)),
            (
                "plan",
                f"generation {summary.plan_generation}, {found.plan.frames} frames, "
                f"{found.plan.frames_per_shard} a shard",
            ),
            ("renderer", f"{found.spec.renderer.backend} {found.spec.renderer.variant}"),
            ("cameras", ", ".join(camera.name for camera in found.spec.cameras)),
            ("annotators", ", ".join(found.spec.annotators)),
            ("created", f"{summary.create_time:%Y-%m-%d %H:%M:%S} UTC"),
            ("manifest", summary.manifest_key or "none"),
        ],
    )


@app.command("abort")
def abort(
    run: RunArgument,
    reason: Annotated[str, typer.Option(help="Why, for people.")] = "aborted by a person",
    json: JsonOption = False,
) -> None:
    """Stops a run for good; what is committed stays."""
    _stop(run, reason=reason, purge=False, json=json)


@app.command("delete")
def delete(
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Stops a run and deletes every object of it."""
    from simcloud_cli.session import check_run_name

    check_run_name(run)
    if not yes:
        typer.confirm(f"delete every object of run {run}?", abort=True, err=True)
    _stop(run, reason="deleted by a person", purge=True, json=json)


def _stop(run: str, *, reason: str, purge: bool, json: bool) -> None:
    from dataclasses import asdict

    from simcloud.client.uploader import AbortOutcome
    from simcloud_cli.embedded import Part
    from simcloud_cli.interrupt import run_async
    from simcloud_cli.output import console, print_json
    from simcloud_cli.session import Session, check_run_name, in_session

    check_run_name(run)

    async def work(session: Session) -> AbortOutcome:
        return await session.uploader.abort_run(
            session.location(run), reason=reason[:256], purge=purge
        )

    outcome = run_async(in_session(frozenset({Part.UPLOADER}), work))
    if json:
        print_json({"run": run, **asdict(outcome)})
        return
    console().print(
        f"{run}: {outcome.stopped_shards} open shards stopped, {outcome.aborted_uploads} uploads "
        f"aborted, {outcome.deleted_objects} objects deleted",
        markup=False,
    )


def summary_json(summary: object) -> dict[str, object]:
    """A run's summary as plain data."""
    from simcloud.client.uploader import RunSummary

    assert isinstance(summary, RunSummary)
    return {
        "run": summary.location.run,
        "uri": summary.location.uri,
        "state": summary.state.value,
        "spec_digest": summary.spec_digest,
        "plan_generation": summary.plan_generation,
        "planned_frames": summary.planned_frames,
        "stored_frames": summary.stored_frames,
        "quarantined_frames": summary.quarantined_frames,
        "quarantined_by_rule": dict(summary.quarantined_by_rule),
        "planned_shards": summary.planned_shards,
        "committed_shards": summary.committed_shards,
        "stored_bytes": summary.stored_bytes,
        "manifest_key": summary.manifest_key,
        "create_time": summary.create_time.isoformat(),
        "missing_shards": [item.shard for item in summary.missing],
        "problem": summary.problem,
    }
