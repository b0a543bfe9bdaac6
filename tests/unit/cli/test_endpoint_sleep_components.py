"""`simcloud endpoint sleep` and `wake` of inference components: by their copies and limits."""

from __future__ import annotations

from support.aws_stubs import PaperAws
from support.paper_endpoints import NAME, OURS, has_actions, has_limits, has_tags, shows_component
from support.paper_sleep import (
    COMPONENT,
    COMPONENT_ARN,
    asleep,
    forgets,
    put_to_sleep,
    registers,
    remembers,
    sets_copies,
    woken,
)


async def test_copies_go_to_none_by_limits_that_are_remembered(paper: PaperAws) -> None:
    shows_component(paper, copies=2)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, (1, 3))
    remembers(paper, COMPONENT_ARN, f"{NAME}=2:1:3:4")
    registers(paper, COMPONENT, 0, 0)
    shows_component(paper, copies=1, desired=0)
    shows_component(paper, copies=0, instances=0)
    assert await put_to_sleep() == f"{NAME} sleeps: `simcloud endpoint wake {NAME}` wakes it"


async def test_copies_without_limits_are_set_to_none(paper: PaperAws) -> None:
    shows_component(paper)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, None)
    remembers(paper, COMPONENT_ARN, f"{NAME}=1")
    sets_copies(paper, 0)
    shows_component(paper, copies=0)
    await put_to_sleep()


async def test_instances_that_stay_without_copies_are_said_to_bill(paper: PaperAws) -> None:
    shows_component(paper, managed_min=1)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, (1, 3))
    remembers(paper, COMPONENT_ARN, f"{NAME}=1:1:3:4")
    registers(paper, COMPONENT, 0, 0)
    shows_component(paper, copies=0, managed_min=1)
    assert "keeps 1 ml.g5.xlarge, which bills" in await put_to_sleep()


async def test_what_sleeps_is_not_remembered_as_asleep(paper: PaperAws) -> None:
    shows_component(paper, copies=0)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, (0, 0))
    registers(paper, COMPONENT, 0, 0)
    shows_component(paper, copies=0)
    await put_to_sleep()


async def test_a_component_wakes_with_its_limits_and_at_least_one_copy(paper: PaperAws) -> None:
    shows_component(paper, copies=0)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, (0, 0))
    has_actions(paper, COMPONENT)
    has_tags(paper, COMPONENT, [*OURS, asleep(f"{NAME}=0:0:3:4")])
    registers(paper, COMPONENT, 0, 3)
    sets_copies(paper, 1)
    forgets(paper, COMPONENT_ARN)
    shows_component(paper, copies=0, desired=1)
    shows_component(paper)
    assert (await woken()).components[0].current_copies == 1


async def test_limits_that_bring_copies_back_are_left_to_do_so(paper: PaperAws) -> None:
    shows_component(paper, copies=0)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, (0, 0))
    has_actions(paper, COMPONENT)
    has_tags(paper, COMPONENT, [*OURS, asleep(f"{NAME}=3:2:4:4")])
    registers(paper, COMPONENT, 2, 4)
    forgets(paper, COMPONENT_ARN)
    shows_component(paper, copies=2)
    await woken()
    # What autoscaling changes just now would refuse another change.
    assert not any(operation.startswith("Update") for _, operation, _ in paper.sent)


async def test_one_that_scaled_itself_to_none_wakes_too(paper: PaperAws) -> None:
    shows_component(paper, copies=0)
    has_tags(paper, f"endpoint/{NAME}")
    has_limits(paper, COMPONENT, (0, 3))
    has_actions(paper, COMPONENT)
    has_tags(paper, COMPONENT)
    sets_copies(paper, 1)
    shows_component(paper)
    await woken()
