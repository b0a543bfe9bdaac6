"""`simcloud endpoint delete`: all that is ours, nothing that is not, in an order that holds."""

from __future__ import annotations

import json

import pytest

from simcloud.errors import Conflict, InvalidRequest, PreconditionFailed
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.operateflow import delete_endpoint
from simcloud_cli.endpoints.removal import plan_removal, remove
from support.aws_stubs import PaperAws, arn
from support.paper_endpoints import (
    CONFIG,
    CREATED,
    NAME,
    Told,
    has_alarm,
    has_no_alarm,
    has_tags,
    shows_async,
    shows_component,
    shows_no_endpoint,
    shows_realtime,
)

SCALING = "application-autoscaling"
COMPONENT = f"inference-component/{NAME}"
OTHER = [{"Key": "simcloud:endpoint", "Value": "detector-two"}]


def _made(paper: PaperAws, *, models: bool = True) -> None:
    """Two configurations and two models of like names, of which one each is the endpoint's."""
    things = [("EndpointConfig", "endpoint-config", CONFIG)]
    if models:
        things.append(("Model", "model", "detector-model"))
    for kind, resource, name in things:
        names = [name, f"{NAME}-two"]
        paper.answers(
            "sagemaker",
            f"List{kind}s",
            {"NameContains": NAME},
            {
                f"{kind}s": [
                    {
                        f"{kind}Name": each,
                        f"{kind}Arn": arn(f"{resource}/{each}"),
                        "CreationTime": CREATED,
                    }
                    for each in names
                ]
            },
        )
        has_tags(paper, f"{resource}/{name}")
        has_tags(paper, f"{resource}/{NAME}-two", OTHER)


def _nothing_made(paper: PaperAws) -> None:
    paper.answers("sagemaker", "ListEndpointConfigs", None, {"EndpointConfigs": []})
    paper.answers("sagemaker", "ListModels", None, {"Models": []})


def _schedules(paper: PaperAws, *, there: bool) -> None:
    for _ in range(2):
        if there:
            paper.answers(
                "scheduler", "GetSchedule", None, {"ScheduleExpression": "cron(0 20 ? * * *)"}
            )
        else:
            paper.refuses("scheduler", "GetSchedule", "ResourceNotFoundException")


async def test_what_would_make_it_again_goes_first_and_what_it_is_made_of_last(
    paper: PaperAws,
) -> None:
    aws, told = Aws(AwsPlace()), Told()
    shows_realtime(paper)
    has_tags(paper, f"endpoint/{NAME}")
    _schedules(paper, there=True)
    _made(paper)
    removal = await plan_removal(aws, NAME, keep_model=False)
    assert removal.lines == [
        "schedule simcloud-sleep-detector",
        "schedule simcloud-wake-detector",
        "limits and scheduled actions of AllTraffic",
        "endpoint detector (InService)",
        f"endpoint configuration {CONFIG}",
        "model detector-model",
    ]
    planned = len(paper.sent)
    for name in ("simcloud-sleep-detector", "simcloud-wake-detector"):
        paper.answers("scheduler", "DeleteSchedule", {"Name": name})
    paper.refuses(SCALING, "DeregisterScalableTarget", "ObjectNotFoundException")
    paper.answers("sagemaker", "DeleteEndpoint", {"EndpointName": NAME})
    shows_no_endpoint(paper)
    paper.answers("sagemaker", "DeleteEndpointConfig", {"EndpointConfigName": CONFIG})
    paper.answers("sagemaker", "DeleteModel", {"ModelName": "detector-model"})
    await remove(aws, removal, told.patience)
    assert [operation for _, operation, _ in paper.sent[planned:]] == [
        "DeleteSchedule",
        "DeleteSchedule",
        "DeregisterScalableTarget",
        "DeleteEndpoint",
        "DescribeEndpoint",
        "DeleteEndpointConfig",
        "DeleteModel",
    ]


async def test_components_go_before_the_endpoint_that_carries_them(paper: PaperAws) -> None:
    aws, told = Aws(AwsPlace()), Told()
    shows_component(paper)
    has_tags(paper, f"endpoint/{NAME}")
    has_tags(paper, COMPONENT)
    has_alarm(paper, COMPONENT)
    _nothing_made(paper)
    removal = await plan_removal(aws, NAME, keep_model=False)
    assert "alarm detector-wake" in removal.lines
    paper.answers(SCALING, "DeregisterScalableTarget", None)
    paper.answers("cloudwatch", "DeleteAlarms", {"AlarmNames": ["detector-wake"]})
    paper.answers("sagemaker", "DeleteInferenceComponent", {"InferenceComponentName": NAME})
    paper.refuses(
        "sagemaker", "DescribeInferenceComponent", "ValidationException", "Could not find it"
    )
    paper.answers("sagemaker", "DeleteEndpoint", {"EndpointName": NAME})
    shows_no_endpoint(paper)
    await remove(aws, removal, told.patience)


@pytest.mark.parametrize("theirs", [True, False])
async def test_an_alarm_that_does_not_wake_the_endpoint_is_neither_listed_nor_deleted(
    paper: PaperAws, theirs: bool
) -> None:
    aws, told = Aws(AwsPlace()), Told()
    shows_async(paper)
    has_tags(paper, f"endpoint/{NAME}")
    if theirs:
        has_alarm(paper, f"endpoint/{NAME}/variant/AllTraffic", theirs=True)
    else:
        has_no_alarm(paper)
    _nothing_made(paper)
    removal = await plan_removal(aws, NAME, keep_model=False)
    assert not any(line.startswith("alarm") for line in removal.lines)
    paper.answers(SCALING, "DeregisterScalableTarget", None)
    paper.answers("sagemaker", "DeleteEndpoint", {"EndpointName": NAME})
    shows_no_endpoint(paper)
    await remove(aws, removal, told.patience)
    assert "DeleteAlarms" not in {operation for _, operation, _ in paper.sent}


async def test_nothing_is_touched_when_the_endpoint_is_somebody_elses(paper: PaperAws) -> None:
    shows_realtime(paper)
    has_tags(paper, f"endpoint/{NAME}", [])
    with pytest.raises(PreconditionFailed, match="was not made by"):
        await plan_removal(Aws(AwsPlace()), NAME, keep_model=False)


async def test_nothing_is_touched_when_somebodys_component_is_on_it(paper: PaperAws) -> None:
    shows_component(paper)
    has_tags(paper, f"endpoint/{NAME}")
    has_tags(paper, f"inference-component/{NAME}", [])
    with pytest.raises(PreconditionFailed, match="inference-component/detector was not made by"):
        await plan_removal(Aws(AwsPlace()), NAME, keep_model=False)


async def test_a_sleeping_endpoint_is_deleted_by_what_is_kept_of_it(paper: PaperAws) -> None:
    shows_no_endpoint(paper)
    _schedules(paper, there=False)
    _made(paper, models=False)
    removal = await plan_removal(Aws(AwsPlace()), NAME, keep_model=True)
    assert removal.lines == [f"endpoint configuration {CONFIG}"]


async def test_what_went_meanwhile_is_no_error(paper: PaperAws) -> None:
    aws = Aws(AwsPlace())
    shows_realtime(paper)
    has_tags(paper, f"endpoint/{NAME}")
    _schedules(paper, there=False)
    _made(paper)
    removal = await plan_removal(aws, NAME, keep_model=False)
    paper.refuses(SCALING, "DeregisterScalableTarget", "ObjectNotFoundException")
    gone = "Could not find it"
    for operation in (
        "DeleteEndpoint",
        "DescribeEndpoint",
        "DeleteEndpointConfig",
        "DeleteModel",
    ):
        paper.refuses("sagemaker", operation, "ValidationException", gone)
    await remove(aws, removal, Told().patience)


async def test_an_endpoint_that_changes_is_not_deleted_and_keeps_its_configuration(
    paper: PaperAws,
) -> None:
    aws = Aws(AwsPlace())
    shows_realtime(paper, status="Updating")
    has_tags(paper, f"endpoint/{NAME}")
    _schedules(paper, there=False)
    _made(paper)
    removal = await plan_removal(aws, NAME, keep_model=False)
    paper.answers(SCALING, "DeregisterScalableTarget", None)
    paper.refuses(
        "sagemaker", "DeleteEndpoint", "ValidationException", "Cannot update in-progress endpoint"
    )
    with pytest.raises(Conflict):
        await remove(aws, removal, Told().patience)
    assert "DeleteEndpointConfig" not in {operation for _, operation, _ in paper.sent}


def _delete(*, yes: bool = True, as_json: bool = False, answer: bool = False) -> None:
    delete_endpoint(
        NAME,
        keep_model=False,
        yes=yes,
        wait_minutes=1,
        place=AwsPlace(),
        as_json=as_json,
        confirm=lambda _: answer,
    )


def test_deleting_twice_says_that_nothing_is_there(
    paper: PaperAws, capsys: pytest.CaptureFixture[str]
) -> None:
    shows_no_endpoint(paper)
    _schedules(paper, there=False)
    _nothing_made(paper)
    _delete(as_json=True)
    assert json.loads(capsys.readouterr().out)["done"] == ["nothing of detector is there"]


def test_nobody_to_ask_deletes_nothing(paper: PaperAws) -> None:
    with pytest.raises(InvalidRequest, match="give --yes"):
        _delete(yes=False)
    with pytest.raises(InvalidRequest, match="give --yes"):
        _delete(yes=False, as_json=True)
    assert paper.sent == []


def test_a_no_deletes_nothing(
    paper: PaperAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    shows_realtime(paper)
    has_tags(paper, f"endpoint/{NAME}")
    _schedules(paper, there=False)
    _made(paper)
    _delete(yes=False, answer=False)
    captured = capsys.readouterr()
    assert "nothing was deleted" in captured.out
    assert "endpoint detector (InService)" in captured.err
    assert not any(operation.startswith("Delete") for _, operation, _ in paper.sent)
