"""`simcloud score` and `simcloud report`: what a model sees in a stored run."""

from __future__ import annotations

from typing import Annotated

import typer

from simcloud_cli.commands.common import (
    DEFAULT_MODEL,
    JsonOption,
    ModelOption,
    OutputOption,
    RunArgument,
)

_BATCH = "With --batch-transform"


def score(
    run: RunArgument,
    *,
    model: ModelOption = DEFAULT_MODEL,
    output: OutputOption = None,
    batch_transform: Annotated[
        bool,
        typer.Option(
            "--batch-transform",
            help="Score by a SageMaker Batch Transform job in place of the router. Bills its "
            "instances while it runs; Ctrl-C stops it.",
        ),
    ] = False,
    sagemaker_model: Annotated[
        str, typer.Option(help="SageMaker's model.", rich_help_panel=_BATCH)
    ] = "",
    endpoint: Annotated[
        str, typer.Option(help="Endpoint whose model is used.", rich_help_panel=_BATCH)
    ] = "",
    instance_type: Annotated[
        str, typer.Option(help="The job's instances.", rich_help_panel=_BATCH)
    ] = "ml.m5.xlarge",
    instances: Annotated[int, typer.Option(min=1, help="How many.", rich_help_panel=_BATCH)] = 1,
    concurrent: Annotated[
        int, typer.Option(min=1, help="Requests at once per instance.", rich_help_panel=_BATCH)
    ] = 4,
    max_payload_mb: Annotated[
        int, typer.Option(min=1, max=100, help="Largest picture, MB.", rich_help_panel=_BATCH)
    ] = 6,
    batch_input: Annotated[
        str,
        typer.Option(
            metavar="PREFIX",
            help="Key prefix for pictures; the model's role reads it.",
            rich_help_panel=_BATCH,
        ),
    ] = "async/in/transform",
    batch_output: Annotated[
        str,
        typer.Option(
            metavar="PREFIX",
            help="Key prefix for answers; the model's role writes it.",
            rich_help_panel=_BATCH,
        ),
    ] = "async/out/transform",
    keep_files: Annotated[
        bool,
        typer.Option(
            "--keep-files", help="Leave pictures and answers in S3.", rich_help_panel=_BATCH
        ),
    ] = False,
    wait_minutes: Annotated[
        float,
        typer.Option(
            min=1,
            help="Longest wait for the job; it goes on, and the same command finds it again.",
            rich_help_panel=_BATCH,
        ),
    ] = 240.0,
    region: Annotated[
        str,
        typer.Option(help="AWS region; the context's S3's by default.", rich_help_panel=_BATCH),
    ] = "",
    profile: Annotated[
        str, typer.Option(help="Profile of ~/.aws/config.", rich_help_panel=_BATCH)
    ] = "",
    json: JsonOption = False,
) -> None:
    """Sends every stored frame that isn't scored yet through a model and writes the report."""
    from simcloud_cli.scoreflow import score_run

    transform = None
    if batch_transform:
        from simcloud_cli.endpoints.aws import AwsPlace
        from simcloud_cli.endpoints.transform_request import TransformSettings
        from simcloud_cli.transformflow import TransformChoice

        transform = TransformChoice(
            settings=TransformSettings(
                sagemaker_model=sagemaker_model,
                instance_type=instance_type,
                instances=instances,
                concurrent=concurrent,
                max_payload_mb=max_payload_mb,
                input_prefix=batch_input,
                output_prefix=batch_output,
                keep_files=keep_files,
            ),
            endpoint=endpoint,
            wait_minutes=wait_minutes,
            place=AwsPlace(region=region, profile=profile),
        )
    elif sagemaker_model or endpoint:
        from simcloud.errors import InvalidRequest

        raise InvalidRequest("--sagemaker-model", "says how --batch-transform works: give that too")
    raise typer.Exit(score_run(run, model, output, score=True, json=json, transform=transform))


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
