"""`simcloud endpoint status`: what is said of each kind, and what of one that sleeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from simcloud.errors import NotFound
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.capacity import Limits
from simcloud_cli.endpoints.status import Status, look_at
from simcloud_cli.endpoints.statusflow import show_status, status_json
from simcloud_cli.exit_codes import ExitCode
from support.aws_stubs import REGION, PaperAws
from support.clock import ManualClock
from support.paper_endpoints import (
    CONFIG,
    CREATED,
    MODIFIED,
    NAME,
    OURS,
    has_limits,
    lists_configs,
    makes_by_schedule,
    shows_async,
    shows_component,
    shows_no_endpoint,
    shows_realtime,
    shows_serverless,
)

RESOURCE = f"endpoint/{NAME}/variant/AllTraffic"


async def _look(hours: int = 24) -> Status:
    return await look_at(Aws(AwsPlace()), NAME, hours=hours, clock=ManualClock())


def _asked(paper: PaperAws, counts: list[int], *, statistic: str = "Sum") -> None:
    points = [
        {"Timestamp": MODIFIED + timedelta(hours=number), statistic: float(count)}
        for number, count in enumerate(counts)
    ]
    paper.answers("cloudwatch", "GetMetricStatistics", None, {"Datapoints": points})


def _acts(paper: PaperAws, resource: str, rows: list[dict[str, Any]]) -> None:
    paper.answers(
        "application-autoscaling",
        "DescribeScheduledActions",
        {"ServiceNamespace": "sagemaker", "ResourceId": resource},
        {"ScheduledActions": rows},
    )


def _no_schedules(paper: PaperAws) -> None:
    for _ in range(2):
        paper.refuses("scheduler", "GetSchedule", "ResourceNotFoundException")


async def test_an_endpoint_of_instances_tells_its_cost_its_use_and_its_limits(
    paper: PaperAws,
) -> None:
    shows_realtime(paper, instances=2)
    _asked(paper, [0, 7, 3, 0])
    has_limits(paper, RESOURCE, (1, 4), target=8.0)
    _acts(paper, RESOURCE, [])
    _no_schedules(paper)
    status = await _look()
    assert status.word == "InService"
    # Two of the price list's ml.g5.xlarge.
    assert status.usd_per_hour == pytest.approx(2.816)
    assert status.usage is not None
    assert status.usage[0].requests == 10
    assert status.usage[0].last_hour == MODIFIED + timedelta(hours=2)
    assert status.limits == {RESOURCE: Limits(least=1, most=4, target=8.0)}
    assert status.schedules == ()
    assert status.unseen == ()
    _, _, query = next(item for item in paper.sent if item[1] == "GetMetricStatistics")
    assert query["EndTime"] - query["StartTime"] == timedelta(hours=24)
    assert {item["Name"] for item in query["Dimensions"]} == {"EndpointName", "VariantName"}


async def test_an_unknown_price_is_unknown_and_no_guess(paper: PaperAws) -> None:
    shows_realtime(paper, instance_type="ml.c6i.large")
    _asked(paper, [])
    has_limits(paper, RESOURCE, None)
    _acts(paper, RESOURCE, [])
    _no_schedules(paper)
    status = await _look()
    assert status.usd_per_hour is None
    assert status_json(status)["usd_per_hour"] is None


async def test_a_serverless_endpoint_costs_nothing_while_nobody_asks(paper: PaperAws) -> None:
    shows_serverless(paper)
    _asked(paper, [5])
    status = await _look()
    assert status.usd_per_hour == 0.0
    assert status.endpoint is not None
    assert status.endpoint.kind == "serverless"
    assert status.limits == {}


async def test_provisioned_concurrency_bills_at_a_price_that_is_not_known(paper: PaperAws) -> None:
    shows_serverless(paper, provisioned=2)
    _asked(paper, [5])
    assert (await _look()).usd_per_hour is None


async def test_an_asynchronous_endpoint_counts_its_latencies(paper: PaperAws) -> None:
    shows_async(paper)
    _asked(paper, [3], statistic="SampleCount")
    has_limits(paper, RESOURCE, (0, 2))
    _acts(
        paper,
        RESOURCE,
        [
            {
                "ScheduledActionName": "simcloud-sleep",
                "ScheduledActionARN": "arn:aws:autoscaling:eu-central-1:123456789012:action",
                "ServiceNamespace": "sagemaker",
                "Schedule": "cron(0 20 ? * MON-FRI *)",
                "Timezone": "Europe/Berlin",
                "ResourceId": RESOURCE,
                "ScalableTargetAction": {"MinCapacity": 0, "MaxCapacity": 0},
                "CreationTime": CREATED,
            }
        ],
    )
    status = await _look()
    assert status.usage is not None
    assert status.usage[0].requests == 3
    assert status.schedules is not None
    assert status.schedules[0].does == "AllTraffic: 0 to 0 instances"
    _, _, query = next(item for item in paper.sent if item[1] == "GetMetricStatistics")
    assert query["MetricName"] == "ModelLatency"


async def test_components_without_a_copy_sleep(paper: PaperAws) -> None:
    shows_component(paper, copies=0, instances=0)
    _asked(paper, [])
    has_limits(paper, f"inference-component/{NAME}", (0, 0))
    _acts(paper, f"inference-component/{NAME}", [])
    status = await _look()
    assert status.word == "Asleep"
    assert status.usd_per_hour == 0.0
    _, _, query = next(item for item in paper.sent if item[1] == "GetMetricStatistics")
    assert query["Dimensions"] == [{"Name": "InferenceComponentName", "Value": NAME}]


async def test_what_may_not_be_seen_is_named_with_the_statement_to_add(paper: PaperAws) -> None:
    shows_realtime(paper)
    paper.refuses("cloudwatch", "GetMetricStatistics", "AccessDenied", "no", status=403)
    paper.refuses(
        "application-autoscaling", "DescribeScalableTargets", "AccessDeniedException", "no"
    )
    paper.refuses(
        "application-autoscaling", "DescribeScheduledActions", "AccessDeniedException", "no"
    )
    status = await _look()
    assert status.word == "InService"
    assert (status.usage, status.limits, status.schedules) == (None, None, None)
    said = " ".join(status.unseen)
    for action in (
        "cloudwatch:GetMetricStatistics",
        "application-autoscaling:DescribeScalableTargets",
        "application-autoscaling:DescribeScheduledActions",
    ):
        assert f'"Action": "{action}"' in said


async def test_an_endpoint_that_was_put_to_sleep_is_found_by_its_configuration(
    paper: PaperAws,
) -> None:
    shows_no_endpoint(paper)
    other = [{"Key": "simcloud:endpoint", "Value": "detector-two"}]
    asleep = {"Key": "simcloud:asleep", "Value": "AllTraffic=2:1:4:8"}
    lists_configs(paper, {"detector-two-0000000000": other, CONFIG: [*OURS, asleep]})
    _no_schedules(paper)
    status = await _look()
    assert status.word == "Asleep"
    (kept,) = status.kept
    assert kept.name == CONFIG
    before = kept.before["AllTraffic"]
    assert (before.count, before.limits) == (2, Limits(least=1, most=4, target=8.0))


def test_an_endpoint_of_which_nothing_says_what_makes_it_again_is_said_so(
    paper: PaperAws, capsys: pytest.CaptureFixture[str]
) -> None:
    shows_no_endpoint(paper)
    lists_configs(paper, {"detector-fedcba9876": OURS, CONFIG: OURS})
    makes_by_schedule(paper, "")
    _no_schedules(paper)
    show_status(NAME, hours=24, place=AwsPlace(), as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert f"one of the configurations detector-fedcba9876, {CONFIG} makes it again" in said


async def test_an_endpoint_that_never_was_is_not_found(paper: PaperAws) -> None:
    shows_no_endpoint(paper)
    paper.answers("sagemaker", "ListEndpointConfigs", None, {"EndpointConfigs": []})
    with pytest.raises(NotFound, match=f"no endpoint {NAME} in {REGION}"):
        await _look()


def test_a_failed_endpoint_says_why_and_what_mends_it_and_is_no_success(
    paper: PaperAws, capsys: pytest.CaptureFixture[str]
) -> None:
    shows_realtime(
        paper,
        status="Failed",
        instances=0,
        failure="The primary container did not pass the ping health check.",
    )
    _asked(paper, [])
    has_limits(paper, RESOURCE, None)
    _acts(paper, RESOURCE, [])
    _no_schedules(paper)
    code = show_status(NAME, hours=24, place=AwsPlace(), as_json=False)
    assert code is ExitCode.FAILURE
    said = capsys.readouterr().out
    assert "ping health check" in said
    assert "--startup-s" in said


def test_an_endpoint_that_nobody_asks_is_said_to_cost(
    paper: PaperAws, capsys: pytest.CaptureFixture[str]
) -> None:
    shows_realtime(paper)
    _asked(paper, [0, 0])
    has_limits(paper, RESOURCE, None)
    _acts(paper, RESOURCE, [])
    _no_schedules(paper)
    assert show_status(NAME, hours=24, place=AwsPlace(), as_json=False) is ExitCode.COMPLETE
    said = capsys.readouterr().out
    assert "0 requests in 24 h" in said
    assert f"simcloud endpoint sleep {NAME}" in said
    assert f"{REGION} has its own" in said
