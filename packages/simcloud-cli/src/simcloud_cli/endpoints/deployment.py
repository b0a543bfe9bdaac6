"""What is to be deployed, and the requests that make it: pure.

Names of models and configurations say what is in them, since neither can be changed: the same
deployment has the same names, and a second run of it finds everything there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simcloud_cli.endpoints.aws import Request
from simcloud_cli.endpoints.kinds import Kind
from simcloud_cli.endpoints.ownership import ENDPOINT_TAG

VARIANT: Final = "AllTraffic"
_NAME = r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$"
_S3_URI = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?$|^$"
_ROLE = r"^arn:aws[a-z-]*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@/-]+$"
_PACKAGE = r"^arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:model-package/\S+$|^$"
_DIGEST_LENGTH = 10
_NAME_LENGTH = 63 - _DIGEST_LENGTH - 1

Alarm = Annotated[str, Field(min_length=1, max_length=255)]


class Deployment(BaseModel):
    """An endpoint as it shall be. Bounds are those of SageMaker's API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=_NAME)
    """The endpoint's; a component has it too."""
    kind: Kind
    role: str = Field(pattern=_ROLE)
    """Execution role that the container runs as."""
    image: str = Field(default="", max_length=255, pattern=r"^\S*$")
    """Image in this region's ECR; with `package` the package's."""
    model_data: str = Field(default="", max_length=1024, pattern=_S3_URI)
    """model.tar.gz; empty: the image has its own weights."""
    package: str = Field(default="", pattern=_PACKAGE)
    """Version in the Model Registry, in place of image and model_data."""
    environment: dict[str, str] = {}
    """The container's environment."""
    instance_type: str = Field(default="", pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$|^$")
    """For all kinds but serverless."""
    instances: int = Field(default=1, ge=0, le=1000)
    """Instances to begin with; 0: a component's endpoint may scale to none."""
    max_instances: int = Field(default=1, ge=1, le=1000)
    """Most instances of a component's endpoint."""
    memory_mb: int = Field(default=2048, ge=128)
    """Of a serverless endpoint, or that a component needs on its instance."""
    concurrency: int = Field(default=4, ge=1, le=1000)
    """Requests at once: of a serverless endpoint, or per instance of an asynchronous one."""
    cpus: float = Field(default=1.0, ge=0.25)
    """Cores that a component needs on its instance."""
    accelerators: int = Field(default=0, ge=0, le=64)
    """GPUs that a component needs on its instance."""
    async_output: str = Field(default="", max_length=512, pattern=_S3_URI)
    """Where an asynchronous endpoint writes its answers."""
    startup_s: int = Field(default=600, ge=60, le=3600)
    """Longest time until the container answers /ping, and to download the model."""
    network_isolation: bool = True
    """Whether the container has no network; serverless endpoints always have one."""
    capture: str = Field(default="", max_length=512, pattern=_S3_URI)
    """Where requests and answers are kept (Data Capture)."""
    capture_percent: int = Field(default=100, ge=1, le=100)
    """Share of the requests that is kept."""
    kms_key: str = Field(default="", max_length=2048, pattern=r"^[a-zA-Z0-9:/_-]*$")
    """KMS key of what is captured and of asynchronous answers."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        for problem in _problems(self):
            raise ValueError(problem)
        return self


def _problems(deployment: Deployment) -> list[str]:
    """What does not go together; the first is told."""
    d = deployment
    found = []
    if bool(d.package) == bool(d.image):
        found.append("give --image, or a version of the Model Registry by --package, not both")
    if d.package and (d.model_data or d.environment):
        found.append("--package has its model data and environment already; leave --model out")
    found += _serverless_problems(d) if d.kind == "serverless" else _instance_problems(d)
    # "Data capture" of SageMaker's guide: real-time endpoints and Batch Transform; "Serverless
    # Inference", feature exclusions.
    if d.capture and d.kind != "realtime":
        found.append(f"--capture is for --kind realtime; SageMaker captures no data of {d.kind}")
    if (d.kind == "async") != bool(d.async_output):
        found.append("--async-output goes with --kind async: give both or neither")
    return found


def _serverless_problems(d: Deployment) -> list[str]:
    found = []
    if d.instance_type:
        found.append("--instance-type means nothing for --kind serverless; remove it")
    if d.memory_mb % 1024 or not 1024 <= d.memory_mb <= 6144:
        found.append(
            f"--memory-mb of a serverless endpoint is 1024 to 6144 in steps of 1024, "
            f"found {d.memory_mb}"
        )
    if d.concurrency > 200:
        found.append(f"--concurrency of a serverless one is at most 200, found {d.concurrency}")
    return found


def _instance_problems(d: Deployment) -> list[str]:
    found = []
    if not d.instance_type:
        found.append(f"--kind {d.kind} needs --instance-type, for example ml.c6i.large")
    if d.instances == 0 and d.kind != "component":
        found.append(
            "--instances 0 is for --kind component; a realtime endpoint has one at least, and an "
            "async one scales to none by `simcloud endpoint scale`"
        )
    if d.kind == "component" and d.max_instances < d.instances:
        found.append(f"--max-instances {d.max_instances} is below --instances {d.instances}")
    return found


def model_request(d: Deployment) -> Request:
    """CreateModel."""
    container: dict[str, object]
    if d.package:
        container = {"ModelPackageName": d.package}
    else:
        container = {"Image": d.image}
        if d.model_data:
            container["ModelDataUrl"] = d.model_data
        if d.environment:
            container["Environment"] = dict(sorted(d.environment.items()))
    parameters: dict[str, object] = {
        "PrimaryContainer": container,
        "ExecutionRoleArn": d.role,
        # Serverless endpoints know no isolation; those of components have it in their
        # configuration.
        "EnableNetworkIsolation": d.network_isolation and d.kind in {"realtime", "async"},
    }
    return _named("CreateModel", "ModelName", "model", d, parameters)


def config_request(d: Deployment, model: str) -> Request:
    """CreateEndpointConfig of a model of that name."""
    parameters: dict[str, object] = {"ProductionVariants": [_variant(d, model)]}
    if d.kind == "component":
        parameters["ExecutionRoleArn"] = d.role
        parameters["EnableNetworkIsolation"] = d.network_isolation
    if d.kind == "async":
        parameters["AsyncInferenceConfig"] = _async(d)
    if d.capture:
        parameters["DataCaptureConfig"] = _capture(d)
    return _named("CreateEndpointConfig", "EndpointConfigName", "endpoint-config", d, parameters)


def _variant(d: Deployment, model: str) -> dict[str, object]:
    variant: dict[str, object] = {"VariantName": VARIANT}
    if d.kind == "serverless":
        variant |= {
            "ModelName": model,
            "ServerlessConfig": {"MemorySizeInMB": d.memory_mb, "MaxConcurrency": d.concurrency},
        }
        return variant
    variant |= {
        "InstanceType": d.instance_type,
        "InitialInstanceCount": max(1, d.instances),
        "ContainerStartupHealthCheckTimeoutInSeconds": d.startup_s,
    }
    if d.kind == "component":
        variant["ManagedInstanceScaling"] = {
            "Status": "ENABLED",
            "MinInstanceCount": d.instances,
            "MaxInstanceCount": d.max_instances,
        }
    else:
        variant |= {
            "ModelName": model,
            "InitialVariantWeight": 1,
            "ModelDataDownloadTimeoutInSeconds": d.startup_s,
        }
    if d.kind != "async":
        # By default SageMaker picks an instance by chance.
        variant["RoutingConfig"] = {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    return variant


def _async(d: Deployment) -> dict[str, object]:
    prefix = d.async_output.rstrip("/")
    output = {"S3OutputPath": prefix, "S3FailurePath": f"{prefix}/failed"}
    if d.kms_key:
        output["KmsKeyId"] = d.kms_key
    return {
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": d.concurrency},
        "OutputConfig": output,
    }


def _capture(d: Deployment) -> dict[str, object]:
    """Pictures and binary tensors are kept as base64, JSON as it is."""
    capture: dict[str, object] = {
        "EnableCapture": True,
        "InitialSamplingPercentage": d.capture_percent,
        "DestinationS3Uri": d.capture.rstrip("/"),
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    if d.kms_key:
        capture["KmsKeyId"] = d.kms_key
    return capture


def create_endpoint_request(d: Deployment, config: str) -> Request:
    """CreateEndpoint with a configuration of that name."""
    return Request(
        service="sagemaker",
        operation="CreateEndpoint",
        parameters={"EndpointName": d.name, "EndpointConfigName": config, "Tags": tags(d.name)},
        resource=f"endpoint/{d.name}",
    )


def component_specification(d: Deployment, model: str) -> dict[str, object]:
    """What an inference component serves, and what it needs of its instance."""
    needs: dict[str, object] = {
        "NumberOfCpuCoresRequired": d.cpus,
        "MinMemoryRequiredInMb": d.memory_mb,
    }
    if d.accelerators:
        needs["NumberOfAcceleratorDevicesRequired"] = float(d.accelerators)
    return {
        "ModelName": model,
        "StartupParameters": {
            "ModelDataDownloadTimeoutInSeconds": d.startup_s,
            "ContainerStartupHealthCheckTimeoutInSeconds": d.startup_s,
        },
        "ComputeResourceRequirements": needs,
    }


def create_component_request(d: Deployment, model: str) -> Request:
    """CreateInferenceComponent, of one copy."""
    return Request(
        service="sagemaker",
        operation="CreateInferenceComponent",
        parameters={
            "InferenceComponentName": d.name,
            "EndpointName": d.name,
            "VariantName": VARIANT,
            "Specification": component_specification(d, model),
            "RuntimeConfig": {"CopyCount": 1},
            "Tags": tags(d.name),
        },
        resource=f"inference-component/{d.name}",
    )


def tags(name: str) -> list[dict[str, str]]:
    """What marks everything that is made for an endpoint."""
    return [{"Key": ENDPOINT_TAG, "Value": name}]


def short_digest(content: object) -> str:
    """The beginning of a digest of JSON content, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def _named(
    operation: str, field: str, resource: str, d: Deployment, parameters: Mapping[str, Any]
) -> Request:
    name = f"{d.name[:_NAME_LENGTH]}-{short_digest(parameters)}"
    return Request(
        service="sagemaker",
        operation=operation,
        parameters={field: name, **parameters, "Tags": tags(d.name)},
        resource=f"{resource}/{name}",
    )


def name_of(request: Request) -> str:
    """The name that a request gives what it makes."""
    return re.sub(r"^[a-z-]+/", "", request.resource)
