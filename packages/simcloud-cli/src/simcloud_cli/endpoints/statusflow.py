"""`simcloud endpoint status` and `test`, printed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from simcloud.errors import InvalidRequest
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.describe import Endpoint
from simcloud_cli.endpoints.failures import mend_of
from simcloud_cli.endpoints.invoke import Body, ask_endpoint, picture_body, tensor_body
from simcloud_cli.endpoints.prices import PRICED_REGION
from simcloud_cli.endpoints.scaling import scalables
from simcloud_cli.endpoints.status import Status, look_at
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.interrupt import run_async
from simcloud_cli.output import console, print_json, print_table

_BAD = frozenset({"Failed", "OutOfService", "UpdateRollbackFailed"})


def show_status(name: str, *, hours: int, place: AwsPlace, as_json: bool) -> ExitCode:
    """Prints an endpoint's state; FAILURE when it is one that no waiting mends.

    Args:
        name: the endpoint.
        hours: how far its use is looked back at.
        place: account and region.
        as_json: one JSON document in place of tables.
    """
    status = run_async(look_at(Aws(place), name, hours=hours))
    if as_json:
        print_json(status_json(status))
    else:
        _print(status)
    return ExitCode.FAILURE if status.word in _BAD else ExitCode.COMPLETE


def show_test(
    name: str,
    *,
    image: Path | None,
    npy: Path | None,
    tensor: str,
    part: str,
    place: AwsPlace,
    as_json: bool,
) -> None:
    """Asks an endpoint once and prints its answer.

    Args:
        name: the endpoint.
        image: picture to send; None: one of our own.
        npy: array to send in its place, as Triton's tensor ``tensor``.
        tensor: name of that tensor.
        part: variant or component.
        place: account and region.
        as_json: one JSON document in place of lines.

    Raises:
        SimcloudError: as ``ask_endpoint``.
    """
    tested = run_async(ask_endpoint(Aws(place), name, _body(image, npy, tensor), part=part))
    if as_json:
        print_json(asdict(tested))
        return
    out = console()
    retried = f", {tested.retries} retries within" if tested.retries else ""
    out.print(
        f"{name} answered {tested.sent} in {tested.latency_s * 1000:.0f} ms{retried}: "
        f"{tested.answer_bytes} bytes of {tested.content_type} by {tested.variant or 'it'}",
        markup=False,
    )
    for line in tested.answer:
        out.print(f"  {line}", markup=False)


def _body(image: Path | None, npy: Path | None, tensor: str) -> Body:
    if npy is None:
        if tensor:
            raise InvalidRequest("--tensor", "names the tensor of --npy: give that too")
        return picture_body(image)
    if image is not None:
        raise InvalidRequest("--npy", "an array or a picture (--image), not both")
    if not tensor:
        raise InvalidRequest("--tensor", "name the model's input that the array is")
    return tensor_body(npy, tensor)


def status_json(status: Status) -> dict[str, object]:
    """All that is known, for scripts."""
    return {
        "name": status.name,
        "region": status.region,
        "status": status.word,
        "endpoint": None if status.endpoint is None else asdict(status.endpoint),
        "kept_config": status.kept[0].name if len(status.kept) == 1 else None,
        "kept_configs": [config.name for config in status.kept],
        "usd_per_hour": status.usd_per_hour,
        "usd_per_hour_of": PRICED_REGION,
        "hours": status.hours,
        "usage": None if status.usage is None else [asdict(item) for item in status.usage],
        "limits": (
            None
            if status.limits is None
            else {key: asdict(item) for key, item in status.limits.items()}
        ),
        "schedules": (
            None if status.schedules is None else [asdict(item) for item in status.schedules]
        ),
        "unseen": list(status.unseen),
    }


def _print(status: Status) -> None:
    out = console()
    endpoint = status.endpoint
    if endpoint is None:
        for line in _asleep(status):
            out.print(line, markup=False)
    else:
        _print_endpoint(status, endpoint)
    for item in status.schedules or ():
        out.print(f"{item.expression} {item.timezone}: {item.does}", markup=False)
    for line in status.unseen:
        out.print(f"not seen: {line}", markup=False)


def _asleep(status: Status) -> list[str]:
    names = ", ".join(config.name for config in status.kept)
    if len(status.kept) > 1:
        return [
            f"{status.name}: Asleep; one of the configurations {names} makes it again, nothing "
            "bills",
            "nothing says which of them it had: `simcloud endpoint deploy` it as it shall be",
        ]
    return [
        f"{status.name}: Asleep; configuration {names} makes it again, nothing bills",
        f"`simcloud endpoint wake {status.name}` wakes it",
    ]


def _print_endpoint(status: Status, endpoint: Endpoint) -> None:
    out = console()
    out.print(
        f"{endpoint.name}: {status.word}, {endpoint.kind}, since "
        f"{endpoint.modified:%Y-%m-%d %H:%M} UTC, configuration {endpoint.config}",
        markup=False,
    )
    if endpoint.failure:
        mend = mend_of(endpoint.failure, endpoint=endpoint.name)
        out.print(f"{endpoint.failure}: {mend}", markup=False)
    limits = status.limits or {}
    between = {
        item.name: limits[item.resource_id]
        for item in scalables(endpoint)
        if item.resource_id in limits
    }

    def scaled(name: str) -> str | None:
        found = between.get(name)
        return f"{found.least} to {found.most}" if found else None

    print_table(
        "",
        ["variant", "model", "instances", "now", "wanted", "scaled", "weight"],
        [
            (
                item.name,
                item.model or None,
                item.instance_type or f"serverless, {item.serverless_concurrency} at once",
                item.current_instances,
                item.desired_instances,
                scaled(item.name),
                item.current_weight,
            )
            for item in endpoint.variants
        ],
    )
    if endpoint.components:
        print_table(
            "",
            ["component", "model", "state", "copies", "wanted", "scaled"],
            [
                (
                    item.name,
                    item.model or None,
                    f"{item.status} {item.failure}".rstrip(),
                    item.current_copies,
                    item.desired_copies,
                    scaled(item.name),
                )
                for item in endpoint.components
            ],
        )
    for line in _money_and_use(status, endpoint):
        out.print(line, markup=False)


def _money_and_use(status: Status, endpoint: Endpoint) -> list[str]:
    lines = []
    if endpoint.capture:
        lines.append(f"requests and answers are kept in {endpoint.capture}")
    if status.usd_per_hour is None:
        lines.append("cost an hour: unknown (aws.amazon.com/sagemaker/pricing)")
    else:
        elsewhere = "" if status.region == PRICED_REGION else f"; {status.region} has its own"
        lines.append(
            f"cost an hour: about ${status.usd_per_hour:.2f} for what runs now, by a copy of "
            f"{PRICED_REGION}'s prices of August 2026{elsewhere}"
        )
    for item in status.usage or ():
        last = f", the last after {item.last_hour:%Y-%m-%d %H:%M} UTC" if item.last_hour else ""
        lines.append(f"{item.name}: {item.requests} requests in {status.hours} h{last}")
    if status.usage and not any(item.requests for item in status.usage) and status.usd_per_hour:
        lines.append(f"nobody asks it: `simcloud endpoint sleep {endpoint.name}` ends its costs")
    return lines
