"""`simcloud endpoint wake` and `sleep` among schedules: limits come back, and schedules stay."""

from __future__ import annotations

import pytest

from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.sleep import sleep
from simcloud_cli.endpoints.wake import wake
from support.aws_stubs import PaperAws
from support.paper_endpoints import (
    NAME,
    OURS,
    Told,
    has_actions,
    has_limits,
    has_tags,
    shows_async,
    shows_component,
)
from support.paper_sleep import COMPONENT, VARIANT, sets_copies

SCALING = "application-autoscaling"
NIGHTS = {"simcloud-sleep": (0, 0)}
AND_DAYS = {**NIGHTS, "simcloud-wake": (1, 3)}


def _shows_asleep(
    paper: PaperAws, tag: str, actions: dict[str, tuple[int, int]] | None = None
) -> None:
    shows_component(paper, copies=0)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, (0, 0))
    asleep = [{"Key": "simcloud:asleep", "Value": tag}] if tag else []
    has_tags(paper, COMPONENT, [*OURS, *asleep])
    has_actions(paper, COMPONENT, actions)


def _registered(paper: PaperAws) -> tuple[int, int]:
    request = next(item[2] for item in paper.sent if item[1] == "RegisterScalableTarget")
    return request["MinCapacity"], request["MaxCapacity"]


async def _wake(told: Told | None = None) -> None:
    await wake(Aws(AwsPlace()), NAME, (told or Told()).patience)


async def test_woken_in_a_scheduled_night_it_has_its_limits_and_the_next_night_too(
    paper: PaperAws,
) -> None:
    _shows_asleep(paper, "detector=2:0:3:4", NIGHTS)
    paper.answers(SCALING, "RegisterScalableTarget", None)
    sets_copies(paper, 2)
    shows_component(paper, copies=2)
    await _wake()
    assert _registered(paper) == (0, 3)
    # The tag stays: nothing writes it again before the next night.
    assert "DeleteTags" not in {operation for _, operation, _ in paper.sent}


async def test_limits_that_no_tag_tells_are_those_of_the_morning(paper: PaperAws) -> None:
    _shows_asleep(paper, "", AND_DAYS)
    paper.answers(SCALING, "RegisterScalableTarget", None)
    shows_component(paper)
    await _wake()
    assert _registered(paper) == (1, 3)


@pytest.mark.parametrize("tag", ["", "detector=1:0:0"])
async def test_limits_that_nothing_tells_are_one_copy_which_is_said(
    paper: PaperAws, tag: str
) -> None:
    told = Told()
    _shows_asleep(paper, tag)
    paper.answers(SCALING, "RegisterScalableTarget", None)
    if tag:
        paper.answers("sagemaker", "DeleteTags", None)
    shows_component(paper)
    await _wake(told)
    assert _registered(paper) == (1, 1)
    assert any("no other limits of it are known" in line for line in told.lines)


async def test_awake_it_is_not_set_back_to_what_it_was(paper: PaperAws) -> None:
    shows_component(paper)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, (2, 8))
    tag = {"Key": "simcloud:asleep", "Value": "detector=1:1:3:4"}
    has_tags(paper, COMPONENT, [*OURS, tag])
    has_actions(paper, COMPONENT, AND_DAYS)
    shows_component(paper)
    await _wake()
    assert "RegisterScalableTarget" not in {operation for _, operation, _ in paper.sent}


async def test_waking_takes_no_schedule_away_with_limits_that_there_were_not(
    paper: PaperAws,
) -> None:
    shows_async(paper, instances=0)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, VARIANT, (0, 0), target=None)
    tag = {"Key": "simcloud:asleep", "Value": "AllTraffic=2"}
    has_tags(paper, f"endpoint/{NAME}", [*OURS, tag])
    has_actions(paper, VARIANT, NIGHTS)
    paper.answers(SCALING, "RegisterScalableTarget", None)
    shows_async(paper, instances=2)
    await _wake()
    assert _registered(paper) == (2, 2)


async def test_on_its_way_to_none_it_is_not_remembered_as_none(paper: PaperAws) -> None:
    shows_component(paper)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, (0, 0))
    paper.answers(SCALING, "RegisterScalableTarget", None)
    shows_component(paper, copies=0)
    await sleep(Aws(AwsPlace()), NAME, Told().patience)
    assert "AddTags" not in {operation for _, operation, _ in paper.sent}
