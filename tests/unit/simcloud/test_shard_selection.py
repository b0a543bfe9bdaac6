"""Which shards a task makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.accounting.plan import (
    TASK_INDEX_VARIABLES,
    select_shards,
    selection_of,
    task_count,
)
from simcloud.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 1, 2, 3, 4)),
        ("3", (3,)),
        ("1-3", (1, 2, 3)),
        ("4,0-1,1", (0, 1, 4)),
    ],
)
def test_a_selection_is_these_shards(text: str, expected: tuple[int, ...]) -> None:
    assert select_shards(text, shard_count=5) == expected


@pytest.mark.parametrize("text", ["x", "-1", "3-1", "5", "0-5", "1,,2", "1 - 2", "0x1"])
def test_what_is_no_selection_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        select_shards(text, shard_count=5)
    assert caught.value.field == "shards"


@given(st.integers(1, 200), st.integers(1, 20), st.sampled_from(TASK_INDEX_VARIABLES))
def test_the_tasks_of_an_array_make_every_shard_once(
    shards: int, per_task: int, variable: str
) -> None:
    made = [
        shard
        for index in range(task_count(shards, per_task))
        for shard in select_shards(
            "auto", shard_count=shards, shards_per_task=per_task, environ={variable: str(index)}
        )
    ]
    assert made == list(range(shards))


def test_a_task_beyond_the_last_shard_has_nothing_to_make() -> None:
    environ = {"SLURM_ARRAY_TASK_ID": "9"}
    assert select_shards("auto", shard_count=5, environ=environ) == ()


def test_auto_without_a_scheduler_says_what_it_needs() -> None:
    with pytest.raises(InvalidRequest, match="JOB_COMPLETION_INDEX"):
        select_shards("auto", shard_count=5, environ={})
    with pytest.raises(InvalidRequest, match="not a number"):
        select_shards("auto", shard_count=5, environ={"JOB_COMPLETION_INDEX": "one"})


@pytest.mark.parametrize("shards", [(3,), (0, 1, 2, 3, 4), (0, 2, 3, 7, 8, 9)])
def test_tasks_share_listed_shards_and_leave_out_the_others(shards: tuple[int, ...]) -> None:
    text = f"auto:{selection_of(shards)}"
    made: list[int] = []
    for index in range(task_count(len(shards), 2) + 1):
        environ = {"JOB_COMPLETION_INDEX": str(index)}
        made += select_shards(text, shard_count=10, shards_per_task=2, environ=environ)
    assert tuple(made) == shards


def test_a_selection_is_as_short_as_its_ranges() -> None:
    assert selection_of((0, 1, 2, 3, 7, 9, 10)) == "0-3,7,9-10"
