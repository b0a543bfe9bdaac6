"""`simcloud endpoint sleep` and `wake`, by kind: what is left, and that it comes back as it was."""

from __future__ import annotations

import pytest

from simcloud.errors import Conflict, Corruption, NotFound, PreconditionFailed
from simcloud_cli.endpoints.asleep import Before, parse_before
from simcloud_cli.endpoints.capacity import Limits
from support.aws_stubs import PaperAws, arn
from support.paper_endpoints import (
    CONFIG,
    CREATED,
    NAME,
    OURS,
    has_actions,
    has_limits,
    has_tags,
    lists_configs,
    makes_by_schedule,
    shows_async,
    shows_no_endpoint,
    shows_realtime,
    shows_serverless,
)
from support.paper_sleep import (
    CONFIG_ARN,
    ENDPOINT_ARN,
    FOUND_BY,
    NEWER,
    SCALING,
    VARIANT,
    asleep,
    forgets,
    put_to_sleep,
    registers,
    remembers,
    woken,
)


async def test_an_endpoint_of_instances_is_deleted_and_its_configuration_remembers(
    paper: PaperAws,
) -> None:
    shows_realtime(paper, instances=2)
    aws_own = {"Key": "aws:cloudformation:stack-name", "Value": "x"}
    has_tags(paper, f"endpoint/{NAME}", [*OURS, FOUND_BY, aws_own])
    has_tags(paper, f"endpoint-config/{CONFIG}")
    has_limits(paper, VARIANT, (1, 4), target=8.0)
    lists_configs(paper, {CONFIG: OURS})
    remembers(paper, CONFIG_ARN, "AllTraffic=2:1:4:8", FOUND_BY)
    paper.answers(SCALING, "DeregisterScalableTarget", None)
    paper.answers("sagemaker", "DeleteEndpoint", {"EndpointName": NAME})
    paper.answers(
        "sagemaker",
        "DescribeEndpoint",
        {"EndpointName": NAME},
        {
            "EndpointName": NAME,
            "EndpointArn": ENDPOINT_ARN,
            "EndpointStatus": "Deleting",
            "CreationTime": CREATED,
            "LastModifiedTime": CREATED,
        },
    )
    shows_no_endpoint(paper)
    assert "nothing bills" in await put_to_sleep()
    # What it was is written before anything of it goes.
    order = [operation for _, operation, _ in paper.sent]
    assert order.index("AddTags") < order.index("DeleteEndpoint")
    # An endpoint that is not deleted keeps its limits.
    assert order.index("DeleteEndpoint") < order.index("DeregisterScalableTarget")


async def test_it_wakes_as_it_was(paper: PaperAws) -> None:
    shows_no_endpoint(paper)
    asleep = {"Key": "simcloud:asleep", "Value": "AllTraffic=2:1:4:8"}
    lists_configs(paper, {CONFIG: [*OURS, FOUND_BY, asleep]})
    paper.answers(
        "sagemaker",
        "CreateEndpoint",
        {"EndpointName": NAME, "EndpointConfigName": CONFIG, "Tags": [*OURS, FOUND_BY]},
        {"EndpointArn": ENDPOINT_ARN},
    )
    shows_realtime(paper, status="Creating", instances=0)
    shows_realtime(paper)
    registers(paper, VARIANT, 1, 4)
    paper.answers(
        SCALING, "PutScalingPolicy", None, {"PolicyARN": "arn:aws:autoscaling:policy:load"}
    )
    paper.answers(
        "sagemaker",
        "UpdateEndpointWeightsAndCapacities",
        {
            "EndpointName": NAME,
            "DesiredWeightsAndCapacities": [
                {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}
            ],
        },
        {"EndpointArn": ENDPOINT_ARN},
    )
    shows_realtime(paper, status="Updating")
    shows_realtime(paper, instances=2)
    forgets(paper, CONFIG_ARN)
    seen = await woken()
    assert seen.variants[0].current_instances == 2
    policy = next(item[2] for item in paper.sent if item[1] == "PutScalingPolicy")
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 8.0


async def test_limits_that_an_interrupted_sleep_took_are_kept_in_the_tag(paper: PaperAws) -> None:
    shows_realtime(paper)
    has_tags(paper, f"endpoint/{NAME}")
    tags = [*OURS, asleep("AllTraffic=2:1:4:8")]
    has_tags(paper, f"endpoint-config/{CONFIG}", tags)
    has_limits(paper, VARIANT, None)
    lists_configs(paper, {CONFIG: tags})
    remembers(paper, CONFIG_ARN, "AllTraffic=2:1:4:8")
    paper.answers("sagemaker", "DeleteEndpoint", {"EndpointName": NAME})
    shows_no_endpoint(paper)
    await put_to_sleep()


async def test_an_endpoint_that_is_not_deleted_keeps_its_limits_and_is_not_asleep(
    paper: PaperAws,
) -> None:
    shows_realtime(paper)
    has_tags(paper, f"endpoint/{NAME}")
    has_tags(paper, f"endpoint-config/{CONFIG}")
    has_limits(paper, VARIANT, (1, 4))
    lists_configs(paper, {CONFIG: OURS})
    remembers(paper, CONFIG_ARN, "AllTraffic=1:1:4:4")
    paper.refuses(
        "sagemaker", "DeleteEndpoint", "ValidationException", "Cannot update in-progress endpoint"
    )
    forgets(paper, CONFIG_ARN)
    with pytest.raises(Conflict):
        await put_to_sleep()
    assert "DeregisterScalableTarget" not in {operation for _, operation, _ in paper.sent}


@pytest.mark.parametrize("there", [None, (1, 4)])
async def test_a_wake_that_was_interrupted_goes_on_with_number_and_limits(
    paper: PaperAws, there: tuple[int, int] | None
) -> None:
    shows_realtime(paper, status="Creating", instances=0)
    shows_realtime(paper)
    has_tags(paper, f"endpoint-config/{CONFIG}", [*OURS, asleep("AllTraffic=2:1:4:8")])
    has_tags(paper, f"endpoint/{NAME}")
    # Limits were registered, but nothing that follows the load.
    has_limits(paper, VARIANT, there, target=None)
    paper.answers(
        "sagemaker", "UpdateEndpointWeightsAndCapacities", None, {"EndpointArn": ENDPOINT_ARN}
    )
    shows_realtime(paper, instances=2)
    registers(paper, VARIANT, 1, 4)
    paper.answers(
        SCALING, "PutScalingPolicy", None, {"PolicyARN": "arn:aws:autoscaling:policy:load"}
    )
    forgets(paper, CONFIG_ARN)
    assert (await woken()).variants[0].current_instances == 2


async def test_limits_that_were_set_since_are_not_those_of_before_it_slept(
    paper: PaperAws,
) -> None:
    for _ in range(2):
        shows_realtime(paper, instances=3)
    has_tags(paper, f"endpoint-config/{CONFIG}", [*OURS, asleep("AllTraffic=2:1:4:8")])
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, VARIANT, (3, 6))
    forgets(paper, CONFIG_ARN)
    await woken()


async def test_it_sleeps_with_one_configuration_whichever_slept_before(paper: PaperAws) -> None:
    shows_realtime(paper)
    has_tags(paper, f"endpoint/{NAME}")
    has_tags(paper, f"endpoint-config/{CONFIG}")
    has_limits(paper, VARIANT, None)
    # The newer one slept too, and its tag stayed when this one was deployed again.
    lists_configs(paper, {NEWER: [*OURS, asleep("AllTraffic=1")], CONFIG: OURS})
    forgets(paper, arn(f"endpoint-config/{NEWER}"))
    remembers(paper, CONFIG_ARN, "AllTraffic=1")
    paper.answers("sagemaker", "DeleteEndpoint", {"EndpointName": NAME})
    shows_no_endpoint(paper)
    await put_to_sleep()


async def test_woken_after_a_scheduled_night_it_is_what_the_schedule_would_have_made(
    paper: PaperAws,
) -> None:
    shows_no_endpoint(paper)
    # An alarm took the newer one back.
    lists_configs(paper, {NEWER: OURS, CONFIG: OURS})
    makes_by_schedule(paper, CONFIG)
    paper.answers(
        "sagemaker",
        "CreateEndpoint",
        {"EndpointName": NAME, "EndpointConfigName": CONFIG, "Tags": OURS},
        {"EndpointArn": ENDPOINT_ARN},
    )
    shows_realtime(paper)
    await woken()


@pytest.mark.parametrize("tags", [[], [{"Key": "simcloud:asleep", "Value": "AllTraffic=1"}]])
async def test_of_which_of_several_configurations_it_is_made_is_not_guessed(
    paper: PaperAws, tags: list[dict[str, str]]
) -> None:
    shows_no_endpoint(paper)
    lists_configs(paper, {NEWER: [*OURS, *tags], CONFIG: [*OURS, *tags]})
    if not tags:
        makes_by_schedule(paper, "")
    with pytest.raises(PreconditionFailed, match=f"{NEWER}, {CONFIG}, and nothing says which"):
        await woken()
    assert "CreateEndpoint" not in {operation for _, operation, _ in paper.sent}


async def test_an_endpoint_that_cannot_be_made_again_is_not_deleted(paper: PaperAws) -> None:
    shows_realtime(paper)
    has_tags(paper, f"endpoint/{NAME}")
    has_tags(paper, f"endpoint-config/{CONFIG}", [])
    with pytest.raises(PreconditionFailed, match="was not made by"):
        await put_to_sleep()


async def test_what_changes_is_not_put_to_sleep(paper: PaperAws) -> None:
    shows_realtime(paper, status="Updating")
    with pytest.raises(Conflict, match="is Updating"):
        await put_to_sleep()


async def test_somebody_elses_endpoint_does_not_sleep(paper: PaperAws) -> None:
    shows_realtime(paper)
    has_tags(paper, f"endpoint/{NAME}", [])
    with pytest.raises(PreconditionFailed, match="was not made by"):
        await put_to_sleep()


async def test_an_asynchronous_endpoint_without_limits_gets_some_to_sleep_and_loses_them_awake(
    paper: PaperAws,
) -> None:
    shows_async(paper, instances=2)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, VARIANT, None)
    remembers(paper, ENDPOINT_ARN, "AllTraffic=2")
    registers(paper, VARIANT, 0, 0)
    shows_async(paper, instances=0)
    await put_to_sleep()

    shows_async(paper, instances=0)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, VARIANT, (0, 0), target=None)
    has_actions(paper, VARIANT)
    has_tags(
        paper, f"endpoint/{NAME}", [*OURS, {"Key": "simcloud:asleep", "Value": "AllTraffic=2"}]
    )
    paper.answers(SCALING, "DeregisterScalableTarget", None)
    paper.answers(
        "sagemaker",
        "UpdateEndpointWeightsAndCapacities",
        None,
        {"EndpointArn": ENDPOINT_ARN},
    )
    forgets(paper, ENDPOINT_ARN)
    shows_async(paper, instances=2)
    await woken()


async def test_a_serverless_endpoint_has_nothing_to_put_to_sleep(paper: PaperAws) -> None:
    shows_serverless(paper)
    assert "nothing of it runs while nobody asks" in await put_to_sleep()
    shows_serverless(paper, provisioned=2)
    assert "2 provisioned requests bill" in await put_to_sleep()


async def test_sleeping_twice_and_waking_twice_change_nothing(paper: PaperAws) -> None:
    shows_no_endpoint(paper)
    lists_configs(paper, {CONFIG: OURS})
    assert "sleeps already" in await put_to_sleep()
    shows_realtime(paper)
    shows_realtime(paper)
    has_tags(paper, f"endpoint-config/{CONFIG}")
    assert (await woken()).status == "InService"


async def test_what_was_never_there_neither_sleeps_nor_wakes(paper: PaperAws) -> None:
    for operation in (put_to_sleep, woken):
        shows_no_endpoint(paper)
        lists_configs(paper, {CONFIG: []})
        with pytest.raises(NotFound):
            await operation()


async def test_an_endpoint_that_fails_to_wake_says_why(paper: PaperAws) -> None:
    shows_no_endpoint(paper)
    lists_configs(paper, {CONFIG: OURS})
    paper.answers("sagemaker", "CreateEndpoint", None, {"EndpointArn": ENDPOINT_ARN})
    shows_realtime(
        paper, status="Failed", instances=0, failure="Unable to provision requested ML compute"
    )
    with pytest.raises(PreconditionFailed, match="another --instance-type"):
        await woken()


@pytest.mark.parametrize(
    "before",
    [
        Before(count=1, limits=None),
        Before(count=0, limits=Limits(least=0, most=3)),
        Before(count=2, limits=Limits(least=1, most=4, target=2.5)),
    ],
)
def test_what_is_written_is_read_again(before: Before) -> None:
    assert parse_before(f"AllTraffic={before} other=1") == {
        "AllTraffic": before,
        "other": Before(count=1, limits=None),
    }


@pytest.mark.parametrize("text", ["AllTraffic", "AllTraffic=one", "AllTraffic=1:2"])
def test_a_tag_that_somebody_changed_is_no_answer(text: str) -> None:
    with pytest.raises(Corruption, match="not what we wrote"):
        parse_before(text)
