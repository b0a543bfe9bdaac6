"""AWS Batch's job definition, against botocore's model of RegisterJobDefinition and our code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from simcloud_cli.exit_codes import ExitCode
from support.setting_names import ALL_VARIABLES

DEFINITION: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "deploy" / "batch" / "job-definition.json").read_text()
)
CONTAINERS = {
    item["name"]: item for item in DEFINITION["ecsProperties"]["taskProperties"][0]["containers"]
}


def environment(name: str) -> dict[str, str]:
    return {item["name"]: item["value"] for item in CONTAINERS[name]["environment"]}


def test_it_is_a_request_that_batch_knows() -> None:
    model = botocore.session.get_session().get_service_model("batch")
    shape = model.operation_model("RegisterJobDefinition").input_shape
    assert shape is not None
    report = ParamValidator().validate(DEFINITION, shape)
    assert not report.has_errors(), report.generate_report()
    assert ParamValidator().validate({**DEFINITION, "retryStrategie": {}}, shape).has_errors()


def test_a_container_with_a_read_only_root_has_a_place_to_write() -> None:
    for name, container in CONTAINERS.items():
        assert container["readonlyRootFilesystem"], name
        (tmp,) = container["linuxParameters"]["tmpfs"]
        assert tmp["containerPath"] == "/tmp", name


def test_every_variable_is_a_setting() -> None:
    for name in CONTAINERS:
        assert environment(name).keys() <= ALL_VARIABLES


def test_the_containers_mean_each_other() -> None:
    run, generator = environment("run"), environment("generator")
    uploader = environment("uploader")["SIMCLOUD_UPLOADER_LISTEN"]
    assert run["SIMCLOUD_CONTEXT_GENERATOR"] == generator["SIMCLOUD_GENERATOR_LISTEN"]
    assert run["SIMCLOUD_CONTEXT_UPLOADER"] == uploader
    assert generator["SIMCLOUD_GENERATOR_UPLOADER_TARGET"] == uploader
    # Batch starts them together and waits for none.
    assert float(run["SIMCLOUD_CONTEXT_WAIT_FOR_SERVICES_S"]) >= 60


def test_what_can_not_get_better_is_not_tried_again() -> None:
    rules = DEFINITION["retryStrategy"]["evaluateOnExit"]
    assert rules[0] == {"onStatusReason": "Host EC2*", "action": "RETRY"}
    final = {int(rule["onExitCode"]) for rule in rules if rule["action"] == "EXIT"}
    assert final == {ExitCode.USAGE, ExitCode.QUARANTINED, ExitCode.CORRUPT}
