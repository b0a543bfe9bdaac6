"""KEDA's ScaledObject, keda.sh/v1alpha1: what its CRD and its admission accept.

Written after the CRD (config/crd/bases/keda.sh_scaledobjects.yaml) and the pages "ScaledObject
specification", "Prometheus" and "Kubernetes Workload" of KEDA 2.15; fields that we don't use and
that are experimental there are left out. Fields that KEDA does not know are dropped by the API
server without a word, so here they are refused.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

METADATA: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "prometheus": (
        frozenset({"serverAddress", "query", "threshold"}),
        frozenset(
            {
                *("activationThreshold", "authModes", "customHeaders", "ignoreNullValues"),
                *("namespace", "queryParameters", "unsafeSsl"),
            }
        ),
    ),
    "kubernetes-workload": (
        frozenset({"podSelector", "value"}),
        frozenset({"activationValue"}),
    ),
}
"""Parameters of the triggers that we use: those that they need, and those that they may have."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)


class Target(_Part):
    """What is scaled."""

    api_version: str = "apps/v1"
    kind: str = "Deployment"
    name: str
    env_source_container_name: str = ""


class Fallback(_Part):
    """Replicas while a trigger's source gives no answer."""

    failure_threshold: Annotated[int, Field(ge=0)]
    replicas: Annotated[int, Field(ge=0)]


class Policy(_Part):
    """A step of the HPA."""

    type: Literal["Pods", "Percent"]
    value: Annotated[int, Field(gt=0)]
    period_seconds: Annotated[int, Field(gt=0, le=1800)]


class Rules(_Part):
    """How the HPA goes in one direction."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    policies: list[Policy] = []


class Behavior(_Part):
    """How the HPA goes in both."""

    scale_down: Rules = Rules()
    scale_up: Rules = Rules()


class HpaConfig(_Part):
    """Of the HPA that KEDA makes."""

    name: str = ""
    behavior: Behavior = Behavior()


class Advanced(_Part):
    """What else there is."""

    restore_to_original_replica_count: bool = False
    horizontal_pod_autoscaler_config: HpaConfig = HpaConfig()


class Trigger(_Part):
    """One signal. All of its metadata are text."""

    type: str
    name: str = ""
    metric_type: Literal["AverageValue", "Value", "Utilization"] = "AverageValue"
    use_cached_metrics: bool = False
    metadata: dict[str, str]

    @model_validator(mode="after")
    def _its_metadata_are_known(self) -> Self:
        if self.type not in METADATA:
            raise ValueError(f"trigger {self.type}: not one that is described here")
        needed, optional = METADATA[self.type]
        if missing := needed - self.metadata.keys():
            raise ValueError(f"trigger {self.type} needs {sorted(missing)}")
        if unknown := self.metadata.keys() - needed - optional:
            raise ValueError(f"trigger {self.type} does not know {sorted(unknown)}")
        return self


class ScaledObject(_Part):
    """The spec."""

    scale_target_ref: Target
    polling_interval: Annotated[int, Field(gt=0)] = 30
    cooldown_period: Annotated[int, Field(ge=0)] = 300
    initial_cooldown_period: Annotated[int, Field(ge=0)] = 0
    # "The only supported value for this property is 0."
    idle_replica_count: Literal[0] | None = None
    min_replica_count: Annotated[int, Field(ge=0)] = 0
    max_replica_count: Annotated[int, Field(gt=0)] = 100
    fallback: Fallback | None = None
    advanced: Advanced = Advanced()
    triggers: Annotated[list[Trigger], Field(min_length=1)]

    @model_validator(mode="after")
    def _as_admission_has_it(self) -> Self:
        if self.min_replica_count > self.max_replica_count:
            raise ValueError("minReplicaCount is above maxReplicaCount")
        if (
            self.idle_replica_count is not None
            and self.idle_replica_count >= self.min_replica_count
        ):
            raise ValueError("idleReplicaCount must be below minReplicaCount")
        names = [trigger.name for trigger in self.triggers if trigger.name]
        if len(set(names)) < len(names):
            raise ValueError("names of triggers must be unique")
        if self.fallback and any(each.metric_type != "AverageValue" for each in self.triggers):
            raise ValueError("a fallback wants triggers of AverageValue")
        return self
