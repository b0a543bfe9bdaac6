"""`simcloud endpoint`: SageMaker endpoints, from a folder of weights to a target of the router."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="SageMaker endpoints: package a model, deploy it, operate it. What bills by the hour is "
    "said before it is made.",
    no_args_is_help=True,
)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The endpoint's name in this account and region.")
]
RegionOption = Annotated[
    str, typer.Option("--region", metavar="REGION", help="AWS region; AWS's own rules by default.")
]
ProfileOption = Annotated[
    str,
    typer.Option("--profile", metavar="PROFILE", help="Profile of ~/.aws/config."),
]
EndpointUrlOption = Annotated[
    str,
    typer.Option(
        "--aws-endpoint-url", metavar="URL", help="Address of a stand-in, in place of AWS's own."
    ),
]
