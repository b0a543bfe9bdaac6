"""`simcloud endpoint status|test|scale|sleep|wake|delete`: an endpoint that is there, operated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simcloud_cli.commands.common import JsonOption
from simcloud_cli.commands.endpoint import (
    EndpointUrlOption,
    NameArgument,
    ProfileOption,
    RegionOption,
    app,
    place_of,
)

__all__ = ["app"]  # the group of `endpoint`, with the commands of this module in it

WaitOption = Annotated[
    float,
    typer.Option(
        "--wait-minutes", min=1, help="Longest wait; what was begun at AWS goes on without it."
    ),
]
PartOption = Annotated[
    str,
    typer.Option("--part", metavar="NAME", help="Variant or component, where there are several."),
]


@app.command("status")
def status(
    name: NameArgument,
    *,
    hours: Annotated[
        int, typer.Option(min=1, max=720, help="How far back requests are counted, hours.")
    ] = 24,
    region: RegionOption = "",
    profile: ProfileOption = "",
    aws_endpoint_url: EndpointUrlOption = "",
    json: JsonOption = False,
) -> None:
    """What an endpoint is, does and costs; also one that sleeps. Changes nothing."""
    from simcloud_cli.endpoints.statusflow import show_status

    place = place_of(region, profile, aws_endpoint_url)
    raise typer.Exit(show_status(name, hours=hours, place=place, as_json=json))


@app.command("test")
def ask(
    name: NameArgument,
    *,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PNG or JPEG to send; a picture of our own by default."),
    ] = None,
    npy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Array to send in its place, as Triton's tensor."),
    ] = None,
    tensor: Annotated[
        str, typer.Option(metavar="NAME", help="The model's input that --npy is.")
    ] = "",
    part: PartOption = "",
    region: RegionOption = "",
    profile: ProfileOption = "",
    aws_endpoint_url: EndpointUrlOption = "",
    json: JsonOption = False,
) -> None:
    """Asks an endpoint once, as the router would; fails unless it answers what a model answers."""
    from simcloud_cli.endpoints.statusflow import show_test

    show_test(
        name,
        image=image,
        npy=npy,
        tensor=tensor,
        part=part,
        place=place_of(region, profile, aws_endpoint_url),
        as_json=json,
    )


@app.command("scale")
def scale(
    name: NameArgument,
    *,
    least: Annotated[
        int | None,
        typer.Option("--min", min=0, help="Least instances or copies; 0 for components and async."),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option("--max", min=1, help="Most of them; requests at once when serverless."),
    ] = None,
    instances: Annotated[
        int | None, typer.Option(min=0, help="Instances, or copies of a component, now.")
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(help="Requests at once per instance or copy. Default: as it is, else 4."),
    ] = None,
    part: PartOption = "",
    wait_minutes: WaitOption = 30.0,
    region: RegionOption = "",
    profile: ProfileOption = "",
    aws_endpoint_url: EndpointUrlOption = "",
    json: JsonOption = False,
) -> None:
    """Sets between which numbers an endpoint scales itself, or how many there are now.

    It follows the requests at the model at once, each ten seconds.
    """
    from simcloud_cli.endpoints.capacity import ScaleChoice
    from simcloud_cli.endpoints.operateflow import scale_endpoint

    scale_endpoint(
        name,
        ScaleChoice(least=least, most=most, count=instances, target=target, part=part),
        wait_minutes=wait_minutes,
        place=place_of(region, profile, aws_endpoint_url),
        as_json=json,
    )


@app.command("sleep")
def sleep(
    name: NameArgument,
    *,
    schedule: Annotated[
        str,
        typer.Option(metavar="EXPRESSION", help="When it sleeps: cron(0 20 ? * MON-FRI *)."),
    ] = "",
    wake_schedule: Annotated[
        str, typer.Option(metavar="EXPRESSION", help="When it wakes: cron(0 7 ? * MON-FRI *).")
    ] = "",
    timezone: Annotated[str, typer.Option(help="Of both, for example Europe/Berlin.")] = "UTC",
    scheduler_role: Annotated[
        str,
        typer.Option(
            metavar="ARN", help="Role of EventBridge's Scheduler, for an endpoint of instances."
        ),
    ] = "",
    no_schedule: Annotated[
        bool, typer.Option("--no-schedule", help="Take the schedules away.")
    ] = False,
    wait_minutes: WaitOption = 30.0,
    region: RegionOption = "",
    profile: ProfileOption = "",
    aws_endpoint_url: EndpointUrlOption = "",
    json: JsonOption = False,
) -> None:
    """Ends what an endpoint costs by the hour, now or at fixed times; `wake` brings it back.

    Components and async endpoints go to none. One of instances is deleted; its configuration stays.
    """
    from simcloud.errors import InvalidRequest
    from simcloud_cli.endpoints.operateflow import sleep_at, sleep_at_no_time, sleep_endpoint
    from simcloud_cli.endpoints.sleep_times import SleepTimes

    place = place_of(region, profile, aws_endpoint_url)
    if no_schedule:
        if schedule or wake_schedule:
            raise InvalidRequest("--no-schedule", "takes schedules away: give none with it")
        sleep_at_no_time(name, place=place, as_json=json)
    elif schedule:
        times = SleepTimes(
            sleep=schedule, wake=wake_schedule, timezone=timezone, role=scheduler_role
        )
        sleep_at(name, times, place=place, as_json=json)
    elif wake_schedule:
        raise InvalidRequest("--wake-schedule", "give --schedule too: what wakes has slept")
    else:
        sleep_endpoint(name, wait_minutes=wait_minutes, place=place, as_json=json)


@app.command("wake")
def wake(
    name: NameArgument,
    *,
    wait_minutes: WaitOption = 30.0,
    region: RegionOption = "",
    profile: ProfileOption = "",
    aws_endpoint_url: EndpointUrlOption = "",
    json: JsonOption = False,
) -> None:
    """Brings an endpoint back as it was before it slept, and waits until it answers."""
    from simcloud_cli.endpoints.operateflow import wake_endpoint

    place = place_of(region, profile, aws_endpoint_url)
    wake_endpoint(name, wait_minutes=wait_minutes, place=place, as_json=json)


@app.command("delete")
def delete(
    name: NameArgument,
    *,
    keep_model: Annotated[
        bool, typer.Option("--keep-model", help="Leave SageMaker's model.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    wait_minutes: WaitOption = 30.0,
    region: RegionOption = "",
    profile: ProfileOption = "",
    aws_endpoint_url: EndpointUrlOption = "",
    json: JsonOption = False,
) -> None:
    """Deletes an endpoint and all that was made for it: schedules, limits, configurations, models.

    Only what `simcloud endpoint` made, by its tag. S3 and the Model Registry stay as they are.
    """
    from simcloud_cli.endpoints.operateflow import delete_endpoint

    delete_endpoint(
        name,
        keep_model=keep_model,
        yes=yes,
        wait_minutes=wait_minutes,
        place=place_of(region, profile, aws_endpoint_url),
        as_json=json,
    )
