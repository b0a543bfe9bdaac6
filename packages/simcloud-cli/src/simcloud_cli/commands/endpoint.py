"""`simcloud endpoint`: SageMaker endpoints, from a folder of weights to a target of the router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simcloud_cli.commands.common import JsonOption
from simcloud_cli.endpoints.aws import AwsPlace
from simcloud_cli.endpoints.kinds import Kind, PackageFormat, Shift, Strategy

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


def place_of(region: str, profile: str, endpoint_url: str) -> AwsPlace:
    """What the options --region, --profile and --aws-endpoint-url come to."""
    return AwsPlace(region=region, profile=profile, endpoint_url=endpoint_url)


@app.command("package")
def package(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model of the weights folder's models.toml.")
    ],
    *,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder with models.toml; the model container's by default."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Default: MODEL-FORMAT, here."),
    ] = None,
    package_format: Annotated[
        PackageFormat,
        typer.Option(
            "--format",
            help="sagemaker: for the model container, and with code/inference.py for AWS's own; "
            "triton: a model repository of the network alone.",
        ),
    ] = "sagemaker",
    to: Annotated[
        str, typer.Option(metavar="S3_URI", help="s3://bucket/prefix that it is uploaded below.")
    ] = "",
    region: RegionOption = "",
    profile: ProfileOption = "",
    aws_endpoint_url: EndpointUrlOption = "",
    json: JsonOption = False,
) -> None:
    """Makes model.tar.gz of a model, after the container's own code answered a picture with it.

    The same model makes the same bytes. Beside it lies model.json, which `deploy` reads.
    """
    from simcloud_cli.endpoints.packageflow import package_model

    package_model(
        model,
        weights=weights,
        output=output,
        package_format=package_format,
        to=to,
        place=place_of(region, profile, aws_endpoint_url),
        as_json=json,
    )


@app.command("deploy")
def deploy(
    name: NameArgument,
    *,
    role: Annotated[
        str, typer.Option(metavar="ARN", help="Execution role that the container runs as.")
    ],
    kind: Annotated[
        Kind,
        typer.Option(
            help="realtime: standing instances; serverless: billed by use; async: through S3; "
            "component: scales to none."
        ),
    ] = "realtime",
    image: Annotated[
        str, typer.Option(metavar="URI", help="Image in this region's ECR, or AWS's own.")
    ] = "",
    model: Annotated[
        str,
        typer.Option(
            metavar="S3_URI|FOLDER",
            help="s3://.../model.tar.gz, or a folder of `endpoint package`. Default: what is in "
            "the image.",
        ),
    ] = "",
    to: Annotated[
        str, typer.Option(metavar="S3_URI", help="s3://bucket/prefix for a folder's upload.")
    ] = "",
    package: Annotated[
        str,
        typer.Option(
            metavar="ARN",
            help="Approved version of the Model Registry, in place of --image and --model.",
        ),
    ] = "",
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="The container's environment; repeatable."),
    ] = None,
    instance_type: Annotated[
        str, typer.Option(metavar="TYPE", help="For example ml.c6i.large; not for serverless.")
    ] = "",
    instances: Annotated[
        int, typer.Option(help="To begin with; of a component the least, 0 too.")
    ] = 1,
    max_instances: Annotated[
        int | None, typer.Option(help="Of a component's endpoint. Default: --instances, or 1.")
    ] = None,
    memory_mb: Annotated[
        int, typer.Option(help="Of a serverless endpoint, or what a component needs.")
    ] = 2048,
    concurrency: Annotated[
        int,
        typer.Option(help="Requests at once: of a serverless endpoint, or per async instance."),
    ] = 4,
    cpus: Annotated[float, typer.Option(help="Cores that a component needs.")] = 1.0,
    accelerators: Annotated[int, typer.Option(help="GPUs that a component needs.")] = 0,
    async_output: Annotated[
        str, typer.Option(metavar="S3_URI", help="Where an async endpoint writes its answers.")
    ] = "",
    startup_s: Annotated[
        int, typer.Option(help="Longest time until the container answers /ping, seconds.")
    ] = 600,
    network_isolation: Annotated[
        bool, typer.Option(help="Whether the container has no network; not for serverless.")
    ] = True,
    capture: Annotated[
        str, typer.Option(metavar="S3_URI", help="Where requests and answers are kept.")
    ] = "",
    capture_percent: Annotated[int, typer.Option(help="Share of requests that is kept.")] = 100,
    kms_key: Annotated[
        str, typer.Option(help="KMS key of what is captured and of async answers.")
    ] = "",
    update: Annotated[
        Strategy,
        typer.Option(help="Of an endpoint that serves: by a second fleet, or in batches."),
    ] = "blue-green",
    shift: Annotated[Shift, typer.Option(help="How blue-green moves the traffic.")] = "canary",
    step_percent: Annotated[
        int, typer.Option(help="Share of the fleet: the canary's, a step's, a batch's.")
    ] = 10,
    bake_s: Annotated[
        int, typer.Option(help="How long alarms are watched after a step, seconds.")
    ] = 600,
    keep_old_s: Annotated[
        int, typer.Option(help="How long blue-green's first fleet stays, seconds; it bills.")
    ] = 600,
    alarm: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="CloudWatch alarm that takes it back; repeatable."),
    ] = None,
    registry: Annotated[
        str, typer.Option(metavar="GROUP", help="Register it in this group of the Model Registry.")
    ] = "",
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve the version; else it waits for somebody.")
    ] = False,
    catalog: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The router's catalogue that gets the endpoint."),
    ] = None,
    canary: Annotated[
        float | None,
        typer.Option(min=0, max=100, metavar="PERCENT", help="Its share of the model's requests."),
    ] = None,
    discover: Annotated[
        bool,
        typer.Option("--discover", help="Tag it, so that routers that look for endpoints take it."),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what would be asked, and what bills; read only.")
    ] = False,
    plan_digest: Annotated[
        str,
        typer.Option(
            metavar="HEX", help="Ask only what the plan of this digest has; --plan says it."
        ),
    ] = "",
    wait_minutes: Annotated[
        float, typer.Option(min=0, help="Longest wait until it is in service; 0: none.")
    ] = 30,
    region: RegionOption = "",
    profile: ProfileOption = "",
    aws_endpoint_url: EndpointUrlOption = "",
    json: JsonOption = False,
) -> None:
    """Makes an endpoint, or updates it; one that is as it shall be is left alone.

    An update goes back by itself when an alarm sounds. Ctrl-C ends the wait, not the deployment.
    """
    from simcloud_cli.endpoints.deployflow import Ways, deploy_endpoint
    from simcloud_cli.endpoints.source import Source

    deploy_endpoint(
        {
            "name": name,
            "kind": kind,
            "role": role,
            "image": image,
            "instance_type": instance_type,
            "instances": instances,
            "max_instances": max_instances or max(1, instances),
            "memory_mb": memory_mb,
            "concurrency": concurrency,
            "cpus": cpus,
            "accelerators": accelerators,
            "async_output": async_output,
            "startup_s": startup_s,
            "network_isolation": network_isolation,
            "capture": capture,
            "capture_percent": capture_percent,
            "kms_key": kms_key,
        },
        source=Source(model=model, to=to, package=package, environment=tuple(env or ())),
        update={
            "strategy": update,
            "shift": shift,
            "step_percent": step_percent,
            "bake_s": bake_s,
            "keep_old_s": keep_old_s,
            "alarms": tuple(alarm or ()),
        },
        ways=Ways(
            plan=plan,
            plan_digest=plan_digest,
            wait_minutes=wait_minutes,
            registry=registry,
            approve=approve,
            catalog=catalog,
            canary_percent=canary,
            discover=discover,
        ),
        place=place_of(region, profile, aws_endpoint_url),
        as_json=json,
    )
