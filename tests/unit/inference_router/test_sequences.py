from __future__ import annotations

import asyncio

import numpy as np
import pytest

from simcloud.errors import InvalidRequest, Overloaded
from simcloud.oip.tensors import split_bytes, tensor_of
from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.classification import classified
from simcloud_inference_router.codecs.base import MalformedAnswer
from simcloud_inference_router.request_parameters import SequenceStep, Session
from simcloud_inference_router.sequences import MAX_SEQUENCES, StreamSequences
from simcloud_inference_router.targets.base import NEW_SESSION


def model(*, sessions: bool) -> ModelEntry:
    tensor = {"datatype": "FP32", "shape": [-1]}
    target = {"name": "t", "kind": "sagemaker", "endpoint": "t", "sessions": sessions}
    return ModelEntry.model_validate(
        {
            "name": "m",
            "task": "any",
            "digest": "0" * 64,
            "inputs": [{"name": "x", **tensor}],
            "outputs": [{"name": "y", **tensor}],
            "targets": [target],
        }
    )


STATEFUL, PLAIN = model(sessions=True), model(sessions=False)


async def test_turns_come_in_the_order_in_which_they_were_taken() -> None:
    sequences = StreamSequences()
    seen: list[tuple[int, str]] = []

    async def request(number: int) -> None:
        async with sequences.turn(STATEFUL, SequenceStep(5, start=number == 0)) as turn:
            seen.append((number, turn.session.id))
            await asyncio.sleep(0)
            turn.answered(session_id="s" if number == 0 else "", closed=number == 3)

    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(request(number))
    assert seen == [(0, NEW_SESSION), (1, "s"), (2, "s"), (3, "s")]
    assert len(sequences) == 0


async def test_a_request_that_failed_to_begin_begins_nothing_and_leaves_nothing() -> None:
    sequences = StreamSequences()
    with pytest.raises(ZeroDivisionError):
        async with sequences.turn(STATEFUL, SequenceStep(5, start=True)):
            raise ZeroDivisionError
    with pytest.raises(InvalidRequest, match="is not open"):
        async with sequences.turn(STATEFUL, SequenceStep(5)):
            pass
    assert len(sequences) == 0


async def test_one_that_gives_up_waiting_lets_the_others_on() -> None:
    sequences = StreamSequences()
    async with sequences.turn(PLAIN, SequenceStep("a")):
        waiting = asyncio.ensure_future(sequences.turn(PLAIN, SequenceStep("a")).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with sequences.turn(PLAIN, SequenceStep("a", end=True)) as turn:
        key = turn.session.key
    assert len(sequences) == 0
    assert key.endswith("sequence-a")


async def test_an_error_within_a_sequence_does_not_end_it() -> None:
    sequences = StreamSequences()
    async with sequences.turn(STATEFUL, SequenceStep(1, start=True)) as turn:
        turn.answered(session_id="s", closed=False)
    with pytest.raises(ZeroDivisionError):
        async with sequences.turn(STATEFUL, SequenceStep(1)):
            raise ZeroDivisionError
    async with sequences.turn(STATEFUL, SequenceStep(1)) as turn:
        assert turn.session.id == "s"


async def test_a_stream_has_only_so_many_sequences_open() -> None:
    sequences = StreamSequences()
    for number in range(MAX_SEQUENCES):
        async with sequences.turn(PLAIN, SequenceStep(number + 1)):
            pass
    assert len(sequences) == MAX_SEQUENCES
    with pytest.raises(Overloaded, match="sequence_end"):
        sequences.turn(PLAIN, SequenceStep("more"))
    async with sequences.turn(PLAIN, SequenceStep(1, end=True)):
        pass
    sequences.turn(PLAIN, SequenceStep("more"))


def test_a_token_says_where_a_session_is() -> None:
    assert Session("key", "id:with colons").token == "key:id:with colons"


@pytest.mark.parametrize(
    ("array", "batched", "expected", "shape"),
    [
        (np.array([3, 5, 5, 1], np.int64), False, [b"5:1:b", b"5:2"], (2,)),
        (np.array([[2, 1], [250, 251]], np.uint8), True, [b"2:0:a", b"251:1:b"], (2, 1)),
        (np.array([0.5], np.float16), False, [b"0.500000:0:a"], (1,)),
        (np.zeros((0, 4), np.float32), True, [], (0, 2)),
        (np.array([[[1], [2]]], np.float64), True, [b"2.000000:1:b", b"1.000000:0:a"], (1, 2)),
    ],
)
def test_the_largest_come_first_and_of_equals_the_first(
    array: np.ndarray, batched: bool, expected: list[bytes], shape: tuple[int, ...]
) -> None:
    count = 1 if array.dtype == np.uint8 else 2
    found = classified(tensor_of("y", array), count, labels=["a", "b"], batched=batched)
    assert (split_bytes(found.data), found.shape, found.datatype) == (expected, shape, "BYTES")


def test_what_has_no_order_has_no_classes() -> None:
    with pytest.raises(MalformedAnswer, match="can't be classified"):
        classified(tensor_of("y", np.array([b"a"], object)), 1, labels=(), batched=False)
