"""An endpoint and all that was made for it, taken away: known in full before the first call.

In an order in which nothing comes back: schedules first, which would make the endpoint again, then
what scales it, then itself, then what it was made of. Each step that finds nothing is done.
"""

from __future__ import annotations

from dataclasses import dataclass

from simcloud_cli.endpoints.alarms import alarm_of, delete_alarm_request
from simcloud_cli.endpoints.asleep import NAME_PART, gone
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.describe import (
    Component,
    Endpoint,
    component_request,
    config_request,
    endpoint_request,
    find_endpoint,
)
from simcloud_cli.endpoints.ownership import check_ours, is_ours, tags_of
from simcloud_cli.endpoints.scaling import Scalable, deregister_request, scalables
from simcloud_cli.endpoints.scheduler import remove_schedules, scheduled_calls
from simcloud_cli.endpoints.waiting import Patience, wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What goes."""

    name: str
    endpoint: Endpoint | None
    schedules: tuple[str, ...]
    alarms: tuple[str, ...]
    """Those that wake it from none."""
    configs: tuple[str, ...]
    models: tuple[str, ...]
    """Empty when they are kept."""

    @property
    def lines(self) -> list[str]:
        """What goes, a line each; none: there is nothing."""
        found = [f"schedule {name}" for name in self.schedules]
        if self.endpoint is not None:
            found += [f"limits and scheduled actions of {item.name}" for item in self._scalables]
            found += [f"alarm {name}" for name in self.alarms]
            found += [f"inference component {item.name}" for item in self._components]
            found.append(f"endpoint {self.name} ({self.endpoint.status})")
        found += [f"endpoint configuration {name}" for name in self.configs]
        found += [f"model {name}" for name in self.models]
        return found

    @property
    def _scalables(self) -> tuple[Scalable, ...]:
        return scalables(self.endpoint) if self.endpoint is not None else ()

    @property
    def _components(self) -> tuple[Component, ...]:
        return self.endpoint.components if self.endpoint is not None else ()


async def plan_removal(aws: Aws, name: str, *, keep_model: bool) -> Removal:
    """All that was made for an endpoint by us; changes nothing.

    Args:
        aws: the account.
        name: the endpoint.
        keep_model: leave SageMaker's models.

    Raises:
        PreconditionFailed: the endpoint or a component on it was not made by us.
        SimcloudError: as ``Aws.ask``.
    """
    endpoint = await find_endpoint(aws, name)
    if endpoint is not None:
        await check_ours(aws, endpoint.arn, name)
        for component in endpoint.components:
            await check_ours(aws, component.arn, name)
    woken = [item for item in scalables(endpoint) if item.kind != "realtime"] if endpoint else []
    timed = endpoint is None or endpoint.kind == "realtime"
    return Removal(
        name=name,
        endpoint=endpoint,
        schedules=tuple(item.name for item in await scheduled_calls(aws, name)) if timed else (),
        alarms=tuple([item.alarm for item in woken if await alarm_of(aws, item) == "ours"]),
        configs=await _ours(aws, name, "ListEndpointConfigs", "EndpointConfig"),
        models=() if keep_model else await _ours(aws, name, "ListModels", "Model"),
    )


async def remove(aws: Aws, removal: Removal, patience: Patience) -> None:
    """Takes it all away, and waits for what takes its time.

    Raises:
        Conflict: the endpoint is being changed.
        DeadlineExceeded: it was still there; the same command goes on.
    """
    say = patience.say
    if removal.schedules:
        await remove_schedules(aws, removal.name)
    endpoint = removal.endpoint
    if endpoint is not None:
        for item in scalables(endpoint):
            await aws.find(deregister_request(item))
        for alarm in removal.alarms:
            await aws.find(delete_alarm_request(alarm))
        for component in endpoint.components:
            await aws.find(component_request(component.name, "DeleteInferenceComponent"))
        for component in endpoint.components:
            await _component_gone(aws, component.name, patience)
        await aws.find(endpoint_request(removal.name, "DeleteEndpoint"))
        await gone(aws, removal.name, patience)
        say(f"endpoint {removal.name} is gone: it bills no longer")
    # An endpoint that is still there would lose the sight of its own configuration.
    for config in removal.configs:
        await aws.find(config_request(config, "DeleteEndpointConfig"))
    for model in removal.models:
        await aws.find(
            Request(
                service="sagemaker",
                operation="DeleteModel",
                parameters={"ModelName": model},
                resource=f"model/{model}",
            )
        )


async def _component_gone(aws: Aws, name: str, patience: Patience) -> None:
    await wait_until(
        lambda: aws.find(component_request(name)),
        done=lambda seen: seen is None,
        state=lambda seen: "gone" if seen is None else str(seen.get("InferenceComponentStatus")),
        what=f"component {name}",
        patience=patience,
    )


async def _ours(aws: Aws, endpoint: str, operation: str, kind: str) -> tuple[str, ...]:
    """Names of all configurations or models that carry the endpoint's tag."""
    rows = await aws.rows(
        Request(
            service="sagemaker",
            operation=operation,
            parameters={"NameContains": endpoint[:NAME_PART]},
        ),
        f"{kind}s",
    )

    names = []
    for row in rows:
        if is_ours(await tags_of(aws, row[f"{kind}Arn"]), endpoint):
            names.append(str(row[f"{kind}Name"]))
    return tuple(names)
