"""The commands of `simcloud endpoint` that operate: bad input is refused before AWS is asked."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from simcloud.errors import InvalidRequest
from simcloud_cli.app import app
from support.aws_stubs import PaperAws

COMMANDS = ("status", "test", "scale", "sleep", "wake", "delete")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_has_help_a_region_and_json(command: str) -> None:
    result = CliRunner().invoke(app, ["endpoint", command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--json" in result.output
    assert "--region" in result.output


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("scale detector", "give --min and --max"),
        ("scale detector --min 3 --max 2", "above --max 2"),
        ("sleep detector --wake-schedule rate(1day)", "give --schedule too"),
        ("sleep detector --schedule rate(1day) --no-schedule", "give none with it"),
        ("sleep detector --schedule nightly", "expected one like cron"),
        ("test detector --tensor input", "give that too"),
        ("test detector --npy a.npy", "name the model's input"),
        ("test detector --npy a.npy --image b.png", "not both"),
        ("delete detector", "give --yes"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_asked(
    paper: PaperAws, line: str, problem: str
) -> None:
    result = CliRunner().invoke(app, ["endpoint", *line.split()])
    assert isinstance(result.exception, InvalidRequest)
    assert problem in str(result.exception)
    assert paper.sent == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--batch-transform", "name the model by"),
        ("--batch-transform --sagemaker-model a --endpoint b", "name the model by"),
        ("--batch-transform --sagemaker-model a", "not in AWS's S3"),
        ("--batch-transform --sagemaker-model a --instance-type m5.xlarge", "like ml.m5.xlarge"),
        ("--batch-transform --sagemaker-model a --concurrent 20", "more than 100 MB"),
        ("--sagemaker-model a", "--batch-transform"),
    ],
)
def test_a_transform_that_cannot_be_is_refused_before_anything_bills(
    paper: PaperAws, monkeypatch: pytest.MonkeyPatch, options: str, problem: str
) -> None:
    # The context in force is the embedded one, whose S3 SageMaker can't read.
    monkeypatch.delenv("SIMCLOUD_CONTEXT", raising=False)
    monkeypatch.setenv("SIMCLOUD_CONFIG", "/nonexistent/config.yaml")
    result = CliRunner().invoke(app, ["score", "showroom", *options.split()])
    assert isinstance(result.exception, InvalidRequest)
    assert problem in str(result.exception)
    assert paper.sent == []
