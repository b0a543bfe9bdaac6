"""`simcloud scene inspect`: what of a stage is understood, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated

import typer

from simcloud_cli.commands.common import JsonOption

app = typer.Typer(name="scene", help="Look at OpenUSD scenes of your own.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Look at OpenUSD scenes of your own."""


@app.command("inspect")
def inspect(
    stage: Annotated[
        str,
        typer.Argument(
            metavar="STAGE", help="A .usd, .usda, .usdc or .usdz file, or its s3:// URI."
        ),
    ],
    *,
    json: JsonOption = False,
) -> None:
    """Lists what of a stage is understood, what isn't, and what must be mended. Needs no services.

    Exit code 0: it can be rendered; 2: it can't, and the last list says why.
    """
    from dataclasses import asdict
    from pathlib import Path

    from simcloud.scene.apart import inspect_apart
    from simcloud_cli.exit_codes import ExitCode
    from simcloud_cli.interrupt import run_async
    from simcloud_cli.output import print_json
    from simcloud_cli.scenesource import local_stage
    from simcloud_cli.sceneview import print_inspection

    path = local_stage(stage, Path.cwd())
    found = run_async(inspect_apart(path))
    if json:
        print_json(asdict(found))
    else:
        print_inspection(found)
    raise typer.Exit(ExitCode.USAGE if found.problems else ExitCode.COMPLETE)
