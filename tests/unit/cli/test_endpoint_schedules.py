"""`simcloud endpoint sleep --schedule`: scheduled actions where those can, else schedules."""

from __future__ import annotations

import json

import pytest

from simcloud.errors import InvalidRequest, PermissionDenied
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.scheduler import schedule_name
from simcloud_cli.endpoints.schedules import remove_times, set_times
from simcloud_cli.endpoints.sleep_times import SleepTimes
from support.aws_stubs import PaperAws, arn
from support.paper_endpoints import (
    CONFIG,
    NAME,
    OURS,
    has_actions,
    has_limits,
    has_tags,
    lists_configs,
    shows_component,
    shows_realtime,
    shows_serverless,
)

ROLE = "arn:aws:iam::123456789012:role/scheduler"
EVENINGS, MORNINGS = "cron(0 20 ? * MON-FRI *)", "cron(0 7 ? * MON-FRI *)"
COMPONENT = f"inference-component/{NAME}"
SCALING = "application-autoscaling"


def _acts(paper: PaperAws, name: str, schedule: str, least: int, most: int) -> None:
    paper.answers(
        SCALING,
        "PutScheduledAction",
        {
            "ServiceNamespace": "sagemaker",
            "ResourceId": COMPONENT,
            "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
            "ScheduledActionName": name,
            "Schedule": schedule,
            "Timezone": "Europe/Berlin",
            "ScalableTargetAction": {"MinCapacity": least, "MaxCapacity": most},
        },
    )


def _remembers(paper: PaperAws, value: str) -> None:
    paper.answers(
        "sagemaker",
        "AddTags",
        {"ResourceArn": arn(COMPONENT), "Tags": [{"Key": "simcloud:asleep", "Value": value}]},
    )


async def test_copies_go_to_none_in_the_evening_and_come_back_in_the_morning(
    paper: PaperAws,
) -> None:
    shows_component(paper)
    has_tags(paper, f"endpoint/{NAME}")
    # What may be none all day is one at least from the morning on.
    has_limits(paper, COMPONENT, (0, 3))
    has_tags(paper, COMPONENT)
    has_actions(paper, COMPONENT)
    _remembers(paper, "detector=1:0:3:4")
    _acts(paper, "simcloud-sleep", EVENINGS, 0, 0)
    _acts(paper, "simcloud-wake", MORNINGS, 1, 3)
    times = SleepTimes(sleep=EVENINGS, wake=MORNINGS, timezone="Europe/Berlin")
    lines = await set_times(Aws(AwsPlace()), NAME, times)
    assert len(lines) == 2


async def test_without_a_morning_an_earlier_one_is_taken_away(paper: PaperAws) -> None:
    shows_component(paper, copies=2)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, None)
    has_tags(paper, COMPONENT)
    _remembers(paper, "detector=2:2:2")
    paper.answers(SCALING, "RegisterScalableTarget", None)
    _acts(paper, "simcloud-sleep", EVENINGS, 0, 0)
    paper.refuses(SCALING, "DeleteScheduledAction", "ObjectNotFoundException")
    times = SleepTimes(sleep=EVENINGS, timezone="Europe/Berlin")
    assert len(await set_times(Aws(AwsPlace()), NAME, times)) == 1
    register = next(item[2] for item in paper.sent if item[1] == "RegisterScalableTarget")
    assert (register["MinCapacity"], register["MaxCapacity"]) == (2, 2)


@pytest.mark.parametrize("known_by", ["tag", "action"])
async def test_said_at_night_the_morning_brings_what_was_there_before_the_night(
    paper: PaperAws, known_by: str
) -> None:
    shows_component(paper, copies=0)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, (0, 0))
    tag = {"Key": "simcloud:asleep", "Value": "detector=2:2:4:6"}
    has_tags(paper, COMPONENT, [*OURS, tag] if known_by == "tag" else OURS)
    # What the schedule has is older than a sleep by hand.
    actions = {"simcloud-wake": (1, 3) if known_by == "tag" else (2, 4)}
    has_actions(paper, COMPONENT, actions)
    _remembers(paper, "detector=2:2:4:6" if known_by == "tag" else "detector=2:2:4")
    _acts(paper, "simcloud-sleep", EVENINGS, 0, 0)
    _acts(paper, "simcloud-wake", MORNINGS, 2, 4)
    times = SleepTimes(sleep=EVENINGS, wake=MORNINGS, timezone="Europe/Berlin")
    await set_times(Aws(AwsPlace()), NAME, times)


async def test_times_wake_nothing_that_sleeps_without_limits(paper: PaperAws) -> None:
    shows_component(paper, copies=0)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, None)
    has_tags(paper, COMPONENT, [*OURS, {"Key": "simcloud:asleep", "Value": "detector=3"}])
    _remembers(paper, "detector=3:3:3")
    paper.answers(SCALING, "RegisterScalableTarget", None)
    _acts(paper, "simcloud-sleep", EVENINGS, 0, 0)
    _acts(paper, "simcloud-wake", MORNINGS, 3, 3)
    times = SleepTimes(sleep=EVENINGS, wake=MORNINGS, timezone="Europe/Berlin")
    await set_times(Aws(AwsPlace()), NAME, times)
    register = next(item[2] for item in paper.sent if item[1] == "RegisterScalableTarget")
    assert (register["MinCapacity"], register["MaxCapacity"]) == (0, 0)


async def test_schedules_taken_away_at_night_leave_what_wake_brings_back(paper: PaperAws) -> None:
    shows_component(paper, copies=0)
    has_tags(paper, f"endpoint/{NAME}")
    for _ in range(2):
        paper.refuses("scheduler", "DeleteSchedule", "ResourceNotFoundException")
    has_limits(paper, COMPONENT, (0, 0))
    has_tags(paper, COMPONENT)
    has_actions(paper, COMPONENT, {"simcloud-sleep": (0, 0), "simcloud-wake": (1, 3)})
    _remembers(paper, "detector=1:1:3")
    for _ in range(2):
        paper.answers(SCALING, "DeleteScheduledAction", None)
    assert await remove_times(Aws(AwsPlace()), NAME) == [
        "2 schedules of detector are gone",
        "detector sleeps: `simcloud endpoint wake detector` wakes it",
    ]
    order = [operation for _, operation, _ in paper.sent]
    assert order.index("AddTags") < order.index("DeleteScheduledAction")


async def test_an_endpoint_of_instances_is_deleted_and_made_by_the_scheduler(
    paper: PaperAws,
) -> None:
    shows_realtime(paper)
    has_tags(paper, f"endpoint-config/{CONFIG}")
    has_tags(paper, f"endpoint/{NAME}")
    # Another slept before this one was deployed: what is woken by hand is this one.
    asleep = {"Key": "simcloud:asleep", "Value": "AllTraffic=1"}
    lists_configs(paper, {"detector-other": [*OURS, asleep], CONFIG: OURS})
    paper.answers(
        "sagemaker",
        "DeleteTags",
        {
            "ResourceArn": arn("endpoint-config/detector-other"),
            "TagKeys": ["simcloud:asleep"],
        },
    )
    paper.refuses("scheduler", "GetSchedule", "ResourceNotFoundException")
    paper.answers("scheduler", "CreateSchedule", None, {"ScheduleArn": "arn:aws:scheduler:sleep"})
    # The second is there from an earlier call.
    paper.answers("scheduler", "GetSchedule", {"Name": "simcloud-wake-detector"}, {})
    paper.answers("scheduler", "UpdateSchedule", None, {"ScheduleArn": "arn:aws:scheduler:wake"})
    times = SleepTimes(sleep=EVENINGS, wake=MORNINGS, role=ROLE)
    await set_times(Aws(AwsPlace()), NAME, times)
    sleep = next(item[2] for item in paper.sent if item[1] == "CreateSchedule")
    wake = next(item[2] for item in paper.sent if item[1] == "UpdateSchedule")
    assert sleep["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:sagemaker:deleteEndpoint"
    assert json.loads(sleep["Target"]["Input"]) == {"EndpointName": NAME}
    assert wake["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:sagemaker:createEndpoint"
    assert json.loads(wake["Target"]["Input"]) == {
        "EndpointName": NAME,
        "EndpointConfigName": CONFIG,
        "Tags": OURS,
    }
    assert wake["Target"]["RoleArn"] == ROLE
    assert wake["ScheduleExpression"] == MORNINGS


async def test_without_a_role_the_policy_that_it_needs_is_said(paper: PaperAws) -> None:
    shows_realtime(paper)
    with pytest.raises(InvalidRequest, match="sagemaker:DeleteEndpoint") as caught:
        await set_times(Aws(AwsPlace()), NAME, SleepTimes(sleep=EVENINGS))
    statement = json.loads("{" + caught.value.problem.partition("{")[2])
    assert statement["Resource"][0].endswith(f":endpoint/{NAME}")


async def test_a_role_that_may_not_be_passed_is_said_with_whom_to(paper: PaperAws) -> None:
    shows_realtime(paper)
    has_tags(paper, f"endpoint-config/{CONFIG}")
    has_tags(paper, f"endpoint/{NAME}")
    lists_configs(paper, {CONFIG: OURS})
    paper.refuses("scheduler", "GetSchedule", "ResourceNotFoundException")
    paper.refuses(
        "scheduler",
        "CreateSchedule",
        "AccessDeniedException",
        f"User: x is not authorized to perform: iam:PassRole on resource: {ROLE} because",
    )
    with pytest.raises(PermissionDenied, match=r"iam:PassRole.*scheduler\.amazonaws\.com"):
        await set_times(Aws(AwsPlace()), NAME, SleepTimes(sleep=EVENINGS, role=ROLE))


async def test_a_serverless_endpoint_needs_no_night(paper: PaperAws) -> None:
    shows_serverless(paper)
    with pytest.raises(InvalidRequest, match="nothing runs while nobody asks"):
        await set_times(Aws(AwsPlace()), NAME, SleepTimes(sleep=EVENINGS))


async def test_all_schedules_are_taken_away(paper: PaperAws) -> None:
    shows_component(paper)
    has_tags(paper, f"endpoint/{NAME}")
    for _ in range(2):
        paper.refuses("scheduler", "DeleteSchedule", "ResourceNotFoundException")
    has_limits(paper, COMPONENT, (1, 3))
    has_tags(paper, COMPONENT)
    has_actions(paper, COMPONENT, {"simcloud-sleep": (0, 0)})
    paper.answers(SCALING, "DeleteScheduledAction", None)
    paper.refuses(SCALING, "DeleteScheduledAction", "ObjectNotFoundException")
    assert await remove_times(Aws(AwsPlace()), NAME) == ["1 schedules of detector are gone"]


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ({"sleep": "at night"}, "expected one like cron"),
        ({"sleep": "cron(0 20 * * *)"}, "6 fields"),
        ({"sleep": EVENINGS, "wake": "cron()"}, "expected one like cron"),
        ({"sleep": EVENINGS, "timezone": "Europe/Nowhere"}, "no time zone"),
        ({"sleep": EVENINGS, "timezone": "../etc/passwd"}, "no time zone"),
        ({"sleep": EVENINGS, "role": "scheduler"}, "no role's ARN"),
    ],
)
def test_times_that_aws_would_refuse_are_refused_first(times: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        SleepTimes(**times)


def test_names_of_schedules_fit_and_differ() -> None:
    long = "a" * 62
    names = {schedule_name("simcloud-sleep", long + end) for end in ("x", "y")}
    assert len(names) == 2
    assert {len(name) for name in names} == {64}
