"""What is asked of SageMaker for a transform job, and how a run goes through one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from simcloud.errors import InvalidRequest
from simcloud_cli.endpoints.aws import Request

ENDED = frozenset({"Completed", "Failed", "Stopped"})
"""States in which a transform job bills no longer."""

_REQUESTS_MB = 100
"""MaxConcurrentTransforms x MaxPayloadInMB is at most this (CreateTransformJob)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformSettings:
    """How a run goes through a transform job.

    Raises:
        InvalidRequest: SageMaker would refuse it.
    """

    sagemaker_model: str
    """Name of the model in SageMaker."""
    instance_type: str = "ml.m5.xlarge"
    instances: int = 1
    concurrent: int = 4
    """Requests at once per instance."""
    max_payload_mb: int = 6
    """Largest picture, 10^6 bytes."""
    input_prefix: str = "async/in/transform"
    """Where pictures go, in the run's bucket; the model's role reads it. The default is below what
    the Terraform modules let that role read."""
    output_prefix: str = "async/out/transform"
    """Where answers go; the model's role writes it."""
    frames_per_job: int = 50_000
    """A longer run goes through several jobs, one after the other."""
    keep_files: bool = False
    """Leave pictures and answers in S3."""

    def __post_init__(self) -> None:
        if not self.instance_type.startswith("ml."):
            raise InvalidRequest(
                "--instance-type", f"expected one like ml.m5.xlarge, found {self.instance_type!r}"
            )
        if self.instances < 1 or self.concurrent < 1 or self.max_payload_mb < 1:
            raise InvalidRequest(
                "--batch-transform", "--instances, --concurrent and --max-payload-mb begin at 1"
            )
        if self.concurrent * self.max_payload_mb > _REQUESTS_MB:
            raise InvalidRequest(
                "--concurrent",
                f"{self.concurrent} requests of {self.max_payload_mb} MB are more than "
                f"{_REQUESTS_MB} MB at once, SageMaker's limit",
            )


def create_request(
    settings: TransformSettings,
    *,
    job: str,
    run: str,
    manifest_uri: str,
    output_uri: str,
    media_type: str,
) -> Request:
    """The request that begins a job.

    Args:
        settings: how.
        job: its name, unlike any other's of the account and region.
        run: for its tag.
        manifest_uri: list of its pictures.
        output_uri: where its answers go.
        media_type: of all its pictures.
    """
    return Request(
        service="sagemaker",
        operation="CreateTransformJob",
        resource=f"transform-job/{job}",
        parameters={
            "TransformJobName": job,
            "ModelName": settings.sagemaker_model,
            "MaxConcurrentTransforms": settings.concurrent,
            "MaxPayloadInMB": settings.max_payload_mb,
            # The container answers within 60 s; what fails for a moment is asked again.
            "ModelClientConfig": {"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 3},
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": manifest_uri}
                },
                "ContentType": media_type,
                "SplitType": "None",
            },
            "TransformOutput": {
                "S3OutputPath": output_uri,
                "Accept": "application/json",
                "AssembleWith": "None",
            },
            "TransformResources": {
                "InstanceType": settings.instance_type,
                "InstanceCount": settings.instances,
            },
            "Tags": [{"Key": "simcloud:run", "Value": run}],
        },
    )


def describe_request(job: str) -> Request:
    """The request that looks at a job."""
    return _of_job("DescribeTransformJob", job)


def stop_request(job: str) -> Request:
    """The request that stops a job: it bills no longer, and what it answered is not stored."""
    return _of_job("StopTransformJob", job)


def model_request(name: str) -> Request:
    """The request that looks at a model of SageMaker's."""
    return Request(
        service="sagemaker",
        operation="DescribeModel",
        parameters={"ModelName": name},
        resource=f"model/{name}",
    )


def job_name(run: str, nonce: str) -> str:
    """A job's name: at most 63 letters, digits and hyphens, the last two nowhere at an end."""
    plain = re.sub(r"[^a-z0-9]+", "-", run).strip("-")[:40].strip("-")
    return f"simcloud-{plain}-{nonce}"


def stop_by_hand(job: str) -> str:
    """How people stop a job."""
    return f"`aws sagemaker stop-transform-job --transform-job-name {job}` stops it"


def billed(ended: dict[str, Any]) -> str:
    """What a job's instances worked, as SageMaker tells it; empty when it doesn't."""
    began, end = ended.get("TransformStartTime"), ended.get("TransformEndTime")
    if began is None or end is None:
        return ""
    resources = ended["TransformResources"]
    seconds = (end - began).total_seconds()
    return f", {resources['InstanceCount']} {resources['InstanceType']} for {seconds:.0f} s"


def _of_job(operation: str, job: str) -> Request:
    return Request(
        service="sagemaker",
        operation=operation,
        parameters={"TransformJobName": job},
        resource=f"transform-job/{job}",
    )
