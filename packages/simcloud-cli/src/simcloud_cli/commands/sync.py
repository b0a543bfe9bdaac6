"""`simcloud sync`: a run copied to another bucket or endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from simcloud_cli.commands.common import JsonOption

if TYPE_CHECKING:
    from simcloud.dataset.mirror import Mirrored


def sync(
    src: Annotated[str, typer.Argument(metavar="SRC", help="s3:// URI of the run to copy.")],
    dst: Annotated[
        str,
        typer.Argument(
            metavar="DST",
            help="s3:// URI of the copy, of the same name; with a slash at the end the name is "
            "added.",
        ),
    ],
    *,
    src_context: Annotated[
        str | None, typer.Option(help="Context whose S3 holds SRC; the one in force by default.")
    ] = None,
    dst_context: Annotated[
        str | None, typer.Option(help="Context whose S3 takes DST; the one in force by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be copied, write nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Copies a run: shards first, manifests last; repeated, it copies what is still missing."""
    from simcloud.dataset.layout import RunLocation
    from simcloud.dataset.mirror import Done, Place, mirror_run
    from simcloud.s3.objects import open_store
    from simcloud_cli.exit_codes import ExitCode
    from simcloud_cli.interrupt import run_async
    from simcloud_cli.output import console, print_json
    from simcloud_cli.session import s3_of

    source = RunLocation.from_uri(src)
    destination = RunLocation.from_uri(f"{dst}{source.run}" if dst.endswith("/") else dst)
    err = console(stderr=True)

    def say(item: Mirrored) -> None:
        if item.done is not Done.PRESENT and not json:
            err.print(f"{item.done.value}: {item.path} {item.problem}".rstrip(), markup=False)

    async def work() -> list[Mirrored]:
        async with (
            open_store(s3_of(src_context)) as reading,
            open_store(s3_of(dst_context)) as writing,
        ):
            return await mirror_run(
                Place(reading, source), Place(writing, destination), dry_run=dry_run, say=say
            )

    items = run_async(work())
    failed = [item for item in items if item.done is Done.FAILED]
    code = ExitCode.INCOMPLETE if failed else ExitCode.COMPLETE
    if json:
        print_json(_document(source.uri, destination.uri, items, int(code)))
    else:
        _print(items)
        if failed:
            console().print(
                f"{len(failed)} objects could not be copied, so no manifest was written; mend "
                f"what is said above and repeat\n  simcloud sync {src} {dst}",
                markup=False,
            )
    raise typer.Exit(code)


def _print(items: list[Mirrored]) -> None:
    from simcloud.dataset.mirror import Done
    from simcloud_cli.output import human_bytes, print_table

    kinds = list(dict.fromkeys(item.kind for item in items))
    rows = []
    for kind in kinds:
        of_kind = [item for item in items if item.kind is kind]
        counts = [sum(item.done is done for item in of_kind) for done in Done]
        rows.append((kind.value, *counts, human_bytes(sum(item.size_bytes for item in of_kind))))
    print_table("", ["", *(done.value for done in Done), "size"], rows)


def _document(source: str, destination: str, items: list[Mirrored], code: int) -> dict[str, object]:
    from simcloud.dataset.mirror import Done

    def rows(done: Done) -> list[Mirrored]:
        return [item for item in items if item.done is done]

    return {
        "src": source,
        "dst": destination,
        "exit_code": code,
        **{done.value: len(rows(done)) for done in Done},
        "copied_bytes": sum(item.size_bytes for item in rows(Done.COPIED)),
        "problems": [{"path": item.path, "problem": item.problem} for item in rows(Done.FAILED)],
    }
