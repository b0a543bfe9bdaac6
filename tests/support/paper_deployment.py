"""What SageMaker says while `simcloud endpoint deploy` makes or changes an endpoint, on paper."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from typer.testing import CliRunner, Result

from simcloud_cli.app import app
from simcloud_cli.endpoints.deployment import Deployment, config_request, model_request, name_of
from simcloud_cli.endpoints.ownership import ENDPOINT_TAG
from support.aws_stubs import REGION, PaperAws, arn
from support.paper_endpoints import lists_configs

ROLE = arn("role/endpoints", service="iam").replace(f":{REGION}:", "::")
IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/model-container:1"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
TAGS = [{"Key": ENDPOINT_TAG, "Value": "detector"}]
SM = "sagemaker"
REALTIME = ("--instance-type", "ml.c6i.large")


def deployment(**more: Any) -> Deployment:
    """A deployment of an endpoint of instances, unless ``more`` says otherwise."""
    fields = {"name": "detector", "kind": "realtime", "role": ROLE, "image": IMAGE, **more}
    if fields["kind"] != "serverless":
        fields.setdefault("instance_type", "ml.c6i.large")
    return Deployment.model_validate(fields)


def names(d: Deployment) -> tuple[str, str]:
    """The names of its model and of its configuration."""
    model = name_of(model_request(d))
    return model, name_of(config_request(d, model))


def invoke(*options: str) -> Result:
    """The command, with its answer as JSON."""
    command = ["endpoint", "deploy", "detector", "--role", ROLE, "--image", IMAGE, "--json"]
    return CliRunner().invoke(app, [*command, *options])


def succeeded(result: Result) -> dict[str, Any]:
    """The document of a command that failed nowhere."""
    assert result.exception is None, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def has_not(aws: PaperAws, *operations: str) -> None:
    """Each of these next requests finds nothing."""
    for operation in operations:
        aws.refuses(SM, operation, "ValidationException", 'Could not find "arn:aws:x".')


def has_model_and_config(aws: PaperAws, d: Deployment) -> None:
    """Model and configuration of a deployment are there."""
    model, config = names(d)
    aws.answers(
        SM,
        "DescribeModel",
        {"ModelName": model},
        {"ModelName": model, "ModelArn": arn(f"model/{model}"), "CreationTime": NOW},
    )
    has_config(aws, config)


def has_config(aws: PaperAws, config: str, *, instances: int = 1) -> None:
    """A configuration is described."""
    aws.answers(
        SM,
        "DescribeEndpointConfig",
        {"EndpointConfigName": config},
        {
            "EndpointConfigName": config,
            "EndpointConfigArn": arn(f"endpoint-config/{config}"),
            "ProductionVariants": [
                {"VariantName": "AllTraffic", "InitialInstanceCount": instances}
            ],
            "CreationTime": NOW,
        },
    )


def has_endpoint(aws: PaperAws, status: str, config: str, **more: Any) -> None:
    """The endpoint is described, by its status and configuration."""
    aws.answers(
        SM,
        "DescribeEndpoint",
        {"EndpointName": "detector"},
        {
            "EndpointName": "detector",
            "EndpointArn": arn("endpoint/detector"),
            "EndpointConfigName": config,
            "EndpointStatus": status,
            "CreationTime": NOW,
            "LastModifiedTime": NOW,
            **more,
        },
    )


def has_component(aws: PaperAws, status: str, specification: dict[str, object]) -> None:
    """The inference component is described."""
    aws.answers(
        SM,
        "DescribeInferenceComponent",
        {"InferenceComponentName": "detector"},
        {
            "InferenceComponentName": "detector",
            "InferenceComponentArn": arn("inference-component/detector"),
            "EndpointName": "detector",
            "EndpointArn": arn("endpoint/detector"),
            "InferenceComponentStatus": status,
            "Specification": specification,
            "CreationTime": NOW,
            "LastModifiedTime": NOW,
        },
    )


def makes_model_and_config(aws: PaperAws, d: Deployment) -> None:
    """Model and configuration of a deployment are made."""
    model, config = names(d)
    aws.answers(SM, "CreateModel", model_request(d).parameters, {"ModelArn": arn(f"model/{model}")})
    aws.answers(
        SM,
        "CreateEndpointConfig",
        config_request(d, model).parameters,
        {"EndpointConfigArn": arn(f"endpoint-config/{config}")},
    )


def makes_endpoint(aws: PaperAws, config: str) -> None:
    """The endpoint is made of a configuration."""
    aws.answers(
        SM,
        "CreateEndpoint",
        {"EndpointName": "detector", "EndpointConfigName": config, "Tags": TAGS},
        {"EndpointArn": arn("endpoint/detector")},
    )


def is_ours(aws: PaperAws, resource: str) -> None:
    """Something carries our tag."""
    aws.answers(SM, "ListTags", {"ResourceArn": arn(resource)}, {"Tags": TAGS})


def there_is_nothing(aws: PaperAws) -> None:
    """Neither model nor configuration nor endpoint, and none that sleeps."""
    has_not(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
    lists_configs(aws, {})
