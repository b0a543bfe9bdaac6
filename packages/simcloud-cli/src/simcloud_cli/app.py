"""The command tree. Commands import what they need when they run: `simcloud --help` stays quick."""

from __future__ import annotations

from typing import Annotated

import typer

from simcloud_cli.commands import (
    context,
    data,
    endpoint_operate,
    infer,
    preview,
    router,
    runs,
    scene,
    score,
    stack,
    sync,
)
from simcloud_cli.commands import run as run_command
from simcloud_cli.exit_codes import MEANINGS
from simcloud_cli.import_command import import_source
from simcloud_cli.state import options

_EXIT_CODES = "  \n".join(f"{code.value}: {meaning}" for code, meaning in MEANINGS.items())

app = typer.Typer(
    name="simcloud",
    help="Labelled synthetic pictures from an OpenUSD scene to S3, and what a model sees in them.",
    epilog=f"Exit codes:  \n{_EXIT_CODES}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def root(
    context_name: Annotated[
        str | None,
        typer.Option(
            "--context",
            "-c",
            envvar="SIMCLOUD_CONTEXT",
            help="Context to use in place of the settings file's current one.",
        ),
    ] = None,
    state_dir: Annotated[
        str | None,
        typer.Option(help="Folder of the embedded stack, in place of the context's."),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks in place of one line.")
    ] = False,
) -> None:
    """Options of every command; they stand before its name."""
    options.context = context_name
    options.state_dir = state_dir
    options.debug = debug


app.command("up")(stack.up)
app.command("run")(run_command.run)
app.command("resume")(run_command.resume)
app.command("import")(import_source)
app.add_typer(runs.app, name="runs")
app.command("verify")(data.verify)
app.command("sync")(sync.sync)
app.command("preview")(preview.preview)
app.command("infer")(infer.infer)
app.command("score")(score.score)
app.command("report")(score.report)
app.add_typer(scene.app, name="scene")
app.add_typer(router.app, name="router")
app.add_typer(endpoint_operate.app, name="endpoint")
app.add_typer(context.app, name="context")
app.command("doctor")(stack.doctor)
