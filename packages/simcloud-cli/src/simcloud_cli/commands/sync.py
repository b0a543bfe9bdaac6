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
    scene: Annotated[
        bool,
        typer.Option(
            "--scene/--no-scene",
            help="Copy the scene that the run's spec names too, so that the copy can be rendered.",
        ),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be copied, write nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Copies a run and its scene: shards first, manifests last; repeated, what is still missing.

    Between two places of one S3 the server copies the shards by itself.
    """
    from simcloud.dataset.layout import RunLocation
    from simcloud.dataset.mirror import Done, Place, mirror_run
    from simcloud.s3.objects import open_store
    from simcloud.scene.mirror import mirror_scene
    from simcloud_cli.exit_codes import ExitCode
    from simcloud_cli.interrupt import run_async
    from simcloud_cli.output import console, print_json
    from simcloud_cli.session import s3_of

    source = RunLocation.from_uri(src)
    destination = RunLocation.from_uri(f"{dst}{source.run}" if dst.endswith("/") else dst)
    err = console(stderr=True)

    def say(item: Mirrored) -> None:
        if item.done is not Done.PRESENT and not json:
            words = "by the server" if item.by_server else item.problem
            err.print(f"{item.done.value}: {item.path} {words}".rstrip(), markup=False)

    async def work() -> list[Mirrored]:
        here, there = s3_of(src_context), s3_of(dst_context)
        async with open_store(here) as reading, open_store(there) as writing:
            places = Place(reading, source, here), Place(writing, destination, there)
            # first, so that the copy of the run never names a scene that is not there
            files = await mirror_scene(*places, dry_run=dry_run, say=say) if scene else []
            return files + await mirror_run(*places, dry_run=dry_run, say=say)

    items = run_async(work())
    failed = [item for item in items if item.done is Done.FAILED]
    code = ExitCode.INCOMPLETE if failed else ExitCode.COMPLETE
    if json:
        print_json(_document(source.uri, destination.uri, items, int(code)))
    else:
        _print(items)
        if failed:
            console().print(
                f"{len(failed)} objects could not be copied; without a shard or an index no "
                "manifest is written; mend what is said above and repeat\n"
                f"  simcloud sync {src} {dst}",
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
        by_server = sum(item.by_server for item in of_kind)
        rows.append(
            (kind, *counts, by_server, human_bytes(sum(item.size_bytes for item in of_kind)))
        )
    print_table("", ["", *(done.value for done in Done), "by the server", "size"], rows)


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
        "copied_by_server": sum(item.by_server for item in items),
        "bytes_by_server": sum(item.size_bytes for item in items if item.by_server),
        "problems": [{"path": item.path, "problem": item.problem} for item in rows(Done.FAILED)],
    }
