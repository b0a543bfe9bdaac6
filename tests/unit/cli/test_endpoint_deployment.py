"""What is deployed: what goes together, and names that say what is in a thing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from simcloud_cli.endpoints.deployment import (
    Deployment,
    config_request,
    model_request,
    name_of,
)
from simcloud_cli.endpoints.failures import mend_of
from simcloud_cli.endpoints.prices import billing_line
from simcloud_cli.endpoints.update import Update, deployment_config

BASE: dict[str, Any] = {
    "name": "detector",
    "kind": "realtime",
    "role": "arn:aws:iam::123456789012:role/endpoints",
    "image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/model-container:1",
    "instance_type": "ml.g5.xlarge",
}


def deployment(**more: Any) -> Deployment:
    return Deployment.model_validate({**BASE, **more})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"package": "arn:aws:sagemaker:eu-central-1:123456789012:model-package/g/1"}, "not both"),
        ({"image": ""}, "--package"),
        ({"kind": "serverless"}, "--instance-type"),
        ({"kind": "serverless", "instance_type": "", "memory_mb": 1500}, "steps of 1024"),
        ({"kind": "serverless", "instance_type": "", "concurrency": 201}, "at most 200"),
        ({"instance_type": ""}, "needs --instance-type"),
        ({"instances": 0}, "--kind component"),
        ({"kind": "component", "instances": 3}, "--max-instances"),
        ({"kind": "async"}, "--async-output"),
        ({"async_output": "s3://bucket/out"}, "--async-output"),
        ({"kind": "component", "capture": "s3://bucket/c"}, "captures no data"),
        (
            {"kind": "serverless", "instance_type": "", "capture": "s3://bucket/c"},
            "captures no data",
        ),
        ({"name": "-x"}, "name"),
        ({"name": "x" * 64}, "name"),
        ({"role": "endpoints"}, "role"),
        ({"model_data": "/tmp/model.tar.gz"}, "model_data"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        deployment(**fields)


def test_the_same_content_has_the_same_name_and_another_another() -> None:
    first = model_request(deployment(environment={"A": "1", "B": "2"}))
    again = model_request(deployment(environment={"B": "2", "A": "1"}))
    other = model_request(deployment(environment={"A": "1", "B": "3"}))
    assert first == again
    assert name_of(first) != name_of(other)
    assert first.parameters["ModelName"] == name_of(first)


def test_names_fit_however_long_the_endpoints_is() -> None:
    request = model_request(deployment(name="x" * 63))
    assert len(name_of(request)) == 63


def test_a_configuration_is_named_by_its_model_too() -> None:
    d = deployment()
    assert name_of(config_request(d, "a")) != name_of(config_request(d, "b"))


def test_components_have_isolation_in_the_configuration_and_may_have_no_instance() -> None:
    d = deployment(kind="component", instances=0, max_instances=2)
    parameters: dict[str, Any] = dict(config_request(d, "m").parameters)
    (variant,) = parameters["ProductionVariants"]
    assert "ModelName" not in variant
    assert variant["InitialInstanceCount"] == 1
    assert variant["ManagedInstanceScaling"] == {
        "Status": "ENABLED",
        "MinInstanceCount": 0,
        "MaxInstanceCount": 2,
    }
    assert parameters["EnableNetworkIsolation"] is True
    assert model_request(d).parameters["EnableNetworkIsolation"] is False


def test_updates_say_their_steps() -> None:
    rolling = deployment_config(Update(strategy="rolling", step_percent=25, bake_s=60))
    assert rolling == {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
            "WaitIntervalInSeconds": 60,
        }
    }
    linear: dict[str, Any] = deployment_config(Update(shift="linear", alarms=("a", "b")))
    routing = linear["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["LinearStepSize"] == {"Type": "CAPACITY_PERCENT", "Value": 10}
    assert linear["AutoRollbackConfiguration"]["Alarms"] == [{"AlarmName": "a"}, {"AlarmName": "b"}]
    at_once: dict[str, Any] = deployment_config(Update(shift="all-at-once"))
    assert at_once["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"] == {
        "Type": "ALL_AT_ONCE",
        "WaitIntervalInSeconds": 600,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": "rolling", "step_percent": 4},
        {"shift": "linear", "step_percent": 9},
        {"step_percent": 51},
        {"alarms": tuple(str(n) for n in range(11))},
    ],
)
def test_steps_beyond_sagemakers_bounds_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Update.model_validate(fields)


def test_what_bills_is_said_with_its_price_where_it_is_known() -> None:
    line = billing_line(deployment(instances=2), region="us-east-1")
    assert line == (
        "bills by the hour, day and night: 2 x ml.g5.xlarge, about $2.82 an hour, $2,056 a month, "
        "by a copy of us-east-1's price list of August 2026"
    )
    assert "has its own prices" in billing_line(deployment(), region="eu-central-1")
    assert "not known here" in billing_line(
        deployment(instance_type="ml.c6i.large"), region="us-east-1"
    )
    serverless = deployment(kind="serverless", instance_type="")
    assert "nothing while nobody asks" in billing_line(serverless, region="us-east-1")
    zero = deployment(kind="component", instances=0)
    assert "none once it has scaled to zero" in billing_line(zero, region="us-east-1")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("The primary container did not pass the ping health check.", "GET /ping"),
        ("Unable to provision requested ML compute capacity", "no such instance free"),
        ("Please make sure all images included in the model exist", "can't be pulled"),
        ("Failed to download model data from s3://b/k", "s3:GetObject"),
        ("something new", "/aws/sagemaker/Endpoints/detector"),
    ],
)
def test_a_failure_comes_with_what_mends_it(reason: str, words: str) -> None:
    assert words in mend_of(reason, endpoint="detector")
