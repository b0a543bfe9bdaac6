"""`simcloud score` and `simcloud report`: what a model sees in a stored run."""

from __future__ import annotations

import typer

from simcloud_cli.commands.common import (
    DEFAULT_MODEL,
    JsonOption,
    ModelOption,
    OutputOption,
    RunArgument,
)


def score(
    run: RunArgument,
    *,
    model: ModelOption = DEFAULT_MODEL,
    output: OutputOption = None,
    json: JsonOption = False,
) -> None:
    """Sends every stored frame that isn't scored yet through a model and writes the report."""
    from simcloud_cli.scoreflow import score_run

    raise typer.Exit(score_run(run, model, output, score=True, json=json))


def report(
    run: RunArgument,
    *,
    model: ModelOption = DEFAULT_MODEL,
    output: OutputOption = None,
    json: JsonOption = False,
) -> None:
    """Writes the report of a scored run again; looks at nothing but S3."""
    from simcloud_cli.scoreflow import score_run

    raise typer.Exit(score_run(run, model, output, score=False, json=json))
