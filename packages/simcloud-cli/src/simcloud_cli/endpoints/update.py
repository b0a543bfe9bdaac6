"""How an endpoint that serves goes over to another configuration: pure.

Blue/green makes a second fleet and moves the traffic; rolling replaces the fleet a batch at a time,
at the cost of no more than one batch of further instances. Either goes back by itself when one of
the alarms sounds. ("Deployment guardrails" of SageMaker's guide.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simcloud_cli.endpoints.aws import Request
from simcloud_cli.endpoints.deployment import Alarm, Deployment, component_specification
from simcloud_cli.endpoints.kinds import Shift, Strategy


class Update(BaseModel):
    """The way of an update."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Strategy = "blue-green"
    """`blue-green`: a second fleet; `rolling`: a batch of instances or copies at a time."""
    shift: Shift = "canary"
    """How traffic goes over to the second fleet."""
    step_percent: int = Field(default=10, ge=1, le=50)
    """Share of the capacity: the canary's, each linear step's, or each rolling batch's."""
    bake_s: int = Field(default=600, ge=0, le=3600)
    """How long alarms are watched after each step."""
    keep_old_s: int = Field(default=600, ge=0, le=3600)
    """How long the first fleet stays after all traffic went over; it bills."""
    alarms: tuple[Alarm, ...] = Field(default=(), max_length=10)
    """CloudWatch alarms of which one that sounds takes the update back."""

    @model_validator(mode="after")
    def _steps(self) -> Self:
        # The API's bounds: a linear step is 10 to 50 %, a rolling batch 5 to 50 %.
        if self.strategy == "rolling" and self.step_percent < 5:
            raise ValueError(f"a rolling batch is 5 to 50 %, found {self.step_percent}")
        linear = self.strategy == "blue-green" and self.shift == "linear"
        if linear and self.step_percent < 10:
            raise ValueError(f"a linear step is 10 to 50 % of the fleet, found {self.step_percent}")
        return self


def deployment_config(update: Update) -> dict[str, object]:
    """DeploymentConfig of UpdateEndpoint."""
    config: dict[str, object]
    step = {"Type": "CAPACITY_PERCENT", "Value": update.step_percent}
    if update.strategy == "rolling":
        config = {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": step,
                "WaitIntervalInSeconds": update.bake_s,
            }
        }
    else:
        routing: dict[str, object] = {
            "Type": update.shift.replace("-", "_").upper(),
            "WaitIntervalInSeconds": update.bake_s,
        }
        if update.shift == "canary":
            routing["CanarySize"] = step
        elif update.shift == "linear":
            routing["LinearStepSize"] = step
        config = {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing,
                "TerminationWaitInSeconds": update.keep_old_s,
            }
        }
    return config | _rollback(update)


def update_endpoint_request(
    d: Deployment, config: str, update: Update, *, keep_count: bool
) -> Request:
    """UpdateEndpoint to a configuration of that name.

    Args:
        d: what is deployed.
        config: the configuration's name.
        update: the way there.
        keep_count: whether as many instances stay as autoscaling has there now.
    """
    parameters: dict[str, object] = {"EndpointName": d.name, "EndpointConfigName": config}
    # Guardrails are for instances of the endpoint itself: serverless ones have none, and those of
    # components are the components' business.
    if d.kind in {"realtime", "async"}:
        parameters["DeploymentConfig"] = deployment_config(update)
    if keep_count:
        parameters["RetainAllVariantProperties"] = True
        parameters["ExcludeRetainedVariantProperties"] = [
            {"VariantPropertyType": "DesiredWeight"},
            {"VariantPropertyType": "DataCaptureConfig"},
        ]
    return Request(
        service="sagemaker",
        operation="UpdateEndpoint",
        parameters=parameters,
        resource=f"endpoint/{d.name}",
    )


def update_component_request(d: Deployment, model: str, update: Update) -> Request:
    """UpdateInferenceComponent: always rolling, copies being what is replaced."""
    policy = {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": update.step_percent},
            "WaitIntervalInSeconds": update.bake_s,
        }
    }
    return Request(
        service="sagemaker",
        operation="UpdateInferenceComponent",
        parameters={
            "InferenceComponentName": d.name,
            "Specification": component_specification(d, model),
            "DeploymentConfig": policy | _rollback(update),
        },
        resource=f"inference-component/{d.name}",
    )


def component_differs(d: Deployment, model: str, found: Mapping[str, Any]) -> bool:
    """Whether a component is not what it shall be; how many copies there are is autoscaling's.

    Args:
        d: what is deployed.
        model: its model's name.
        found: DescribeInferenceComponent's answer.
    """
    wanted = component_specification(d, model)
    specification = found.get("Specification", {})
    return any(specification.get(key) != value for key, value in wanted.items())


def _rollback(update: Update) -> dict[str, object]:
    if not update.alarms:
        return {}
    alarms = [{"AlarmName": name} for name in update.alarms]
    return {"AutoRollbackConfiguration": {"Alarms": alarms}}
