"""`simcloud endpoint scale`, `sleep`, `wake` and `delete`: asked, told and printed."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from simcloud.errors import InvalidRequest
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.capacity import ScaleChoice, scale
from simcloud_cli.endpoints.describe import Endpoint
from simcloud_cli.endpoints.removal import Removal, plan_removal, remove
from simcloud_cli.endpoints.scaling import scalables
from simcloud_cli.endpoints.schedules import remove_times, set_times
from simcloud_cli.endpoints.sleep import sleep
from simcloud_cli.endpoints.sleep_times import SleepTimes
from simcloud_cli.endpoints.waiting import Patience
from simcloud_cli.endpoints.wake import wake
from simcloud_cli.interrupt import run_async
from simcloud_cli.output import console, print_json


def patience_of(wait_minutes: float) -> Patience:
    """As long as the option says, told on standard error."""
    out = console(stderr=True)

    def say(line: str) -> None:
        out.print(f"[dim]{line}[/]")

    return Patience(limit_s=wait_minutes * 60, say=say)


def scale_endpoint(
    name: str, choice: ScaleChoice, *, wait_minutes: float, place: AwsPlace, as_json: bool
) -> None:
    """Scales an endpoint and prints what there is then.

    Raises:
        SimcloudError: as ``scale``.
    """
    seen = run_async(scale(Aws(place), name, choice, patience_of(wait_minutes)))
    _print_counts(seen, as_json=as_json)


def sleep_endpoint(name: str, *, wait_minutes: float, place: AwsPlace, as_json: bool) -> None:
    """Puts an endpoint to sleep and prints what is left of it.

    Raises:
        SimcloudError: as ``sleep``.
    """
    line = run_async(sleep(Aws(place), name, patience_of(wait_minutes)))
    _print_lines(name, [line], as_json=as_json)


def sleep_at(name: str, times: SleepTimes, *, place: AwsPlace, as_json: bool) -> None:
    """Sets when an endpoint sleeps and prints it.

    Raises:
        SimcloudError: as ``set_times``.
    """
    _print_lines(name, run_async(set_times(Aws(place), name, times)), as_json=as_json)


def sleep_at_no_time(name: str, *, place: AwsPlace, as_json: bool) -> None:
    """Takes the schedules of an endpoint away.

    Raises:
        SimcloudError: as ``remove_times``.
    """
    _print_lines(name, run_async(remove_times(Aws(place), name)), as_json=as_json)


def wake_endpoint(name: str, *, wait_minutes: float, place: AwsPlace, as_json: bool) -> None:
    """Wakes an endpoint and prints what there is then.

    Raises:
        SimcloudError: as ``wake``.
    """
    seen = run_async(wake(Aws(place), name, patience_of(wait_minutes)))
    _print_counts(seen, as_json=as_json)


def delete_endpoint(
    name: str,
    *,
    keep_model: bool,
    yes: bool,
    wait_minutes: float,
    place: AwsPlace,
    as_json: bool,
    confirm: Callable[[str], bool] = typer.confirm,
) -> None:
    """Deletes an endpoint with all that was made for it, when that was said to be right.

    Args:
        name: the endpoint.
        keep_model: leave SageMaker's models.
        yes: don't ask.
        wait_minutes: longest wait.
        place: account and region.
        as_json: one JSON document in place of lines.
        confirm: asks the user.

    Raises:
        InvalidRequest: nobody can be asked and ``yes`` was not given.
        SimcloudError: as ``plan_removal`` and ``remove``.
    """
    if not yes and (as_json or not sys.stdin.isatty()):
        raise InvalidRequest("--yes", "deleting asks first, and there is nobody to ask: give --yes")
    aws = Aws(place)
    removal = run_async(plan_removal(aws, name, keep_model=keep_model))
    if not removal.lines:
        _print_lines(name, [f"nothing of {name} is there"], as_json=as_json)
        return
    if not yes and not _agreed(removal, confirm):
        console().print("nothing was deleted")
        return
    run_async(remove(aws, removal, patience_of(wait_minutes)))
    _print_lines(name, [f"deleted: {line}" for line in removal.lines], as_json=as_json)


def _agreed(removal: Removal, confirm: Callable[[str], bool]) -> bool:
    out = console(stderr=True)
    for line in removal.lines:
        out.print(f"  {line}", markup=False)
    out.print("S3 and the Model Registry stay as they are", markup=False)
    return confirm(f"delete all this of {removal.name}?")


def _print_counts(endpoint: Endpoint, *, as_json: bool) -> None:
    items = scalables(endpoint)
    if as_json:
        counts = {item.name: {"now": item.current, "wanted": item.desired} for item in items}
        print_json({"endpoint": endpoint.name, "status": endpoint.status, "counts": counts})
        return
    console().print(f"{endpoint.name}: {endpoint.status}", markup=False)
    for item in items:
        console().print(f"  {item.name}: {item.current} {item.unit}", markup=False)


def _print_lines(name: str, lines: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"endpoint": name, "done": lines})
        return
    for line in lines:
        console().print(line, markup=False)
