"""Requests for a model that takes batches are sent as one, and nobody pays for another's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import numpy as np
import pytest

from simcloud.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    NotReady,
    Overloaded,
    TargetError,
)
from simcloud.oip.tensors import Tensor, tensor_of
from simcloud.telemetry import metrics, tracing
from simcloud_inference_router.batching.batch import Asked, Batch
from simcloud_inference_router.batching.former import BatchFormer
from simcloud_inference_router.codecs.base import TensorRequest
from simcloud_inference_router.metrics import BATCHED, BATCHES_APART, EXECUTIONS
from simcloud_inference_router.statistics import CallTrace
from support.batching import BAD, answer_of, batched, doubled, model_error, tensors_of
from support.eventually import eventually
from support.scripted_endpoint import Invocation, Reply

LONG = {"max_queue_delay_microseconds": 30_000_000}
"""Longer than any test waits: a batch goes for another reason."""


async def test_what_waits_for_a_slot_is_sent_as_one(tmp_path: Path) -> None:
    async with batched(tmp_path) as det:
        holder = await det.hold()
        waiting = [det.begin(2.0), det.begin(3.0, 4.0), det.begin(5.0)]
        await det.forming(3)
        assert det.model.door.waiting == 1, "one request to the endpoint, one in its queue"
        det.release()
        assert list(await asyncio.gather(holder, *waiting)) == [[2.0], [4.0], [6.0, 8.0], [10.0]]
        assert det.sent == [1, 4]
        assert all(trace.attempts == 1 and trace.target == "det" for trace in det.traces)
        assert all(trace.queue_s > 0 for trace in det.traces[1:])
        det.assert_idle()


async def test_a_batch_has_no_more_rows_than_the_model_takes(tmp_path: Path) -> None:
    async with batched(tmp_path) as det:
        holder = await det.hold()
        waiting = [det.begin(float(number)) for number in range(20)]
        await eventually(lambda: det.model.door.waiting == 3)
        det.release()
        answers = await asyncio.gather(holder, *waiting)
        assert answers[1:] == [[2.0 * number] for number in range(20)]
        assert det.sent == [1, 8, 8, 4]


@pytest.mark.parametrize(
    "options", [{"preferred_batch_size": [3], **LONG}, {"max_batch_size": 3, **LONG}]
)
async def test_a_preferred_size_and_a_full_batch_wait_for_nobody_else(
    tmp_path: Path, options: dict[str, object]
) -> None:
    async with batched(tmp_path, options=options) as det:
        got = await asyncio.gather(det.ask(1.0), det.ask(2.0), det.ask(3.0))
        assert list(got) == [[2.0], [4.0], [6.0]]
        assert det.sent == [3]


async def test_company_is_waited_for_no_longer_than_the_delay(tmp_path: Path) -> None:
    async with batched(tmp_path, options={"max_queue_delay_microseconds": 20_000}) as det:
        assert await det.ask(1.0, within_s=None) == [2.0]
        assert det.sent == [1]
        assert det.traces[0].queue_s >= 0.02


async def test_a_batch_goes_before_the_earliest_deadline_is_in_danger(tmp_path: Path) -> None:
    async with batched(tmp_path, options=LONG) as det:
        patient = det.begin(1.0, within_s=None)
        await det.forming(1)
        # Half of it is for the answer's way, on whatever machine.
        assert await det.ask(2.0, within_s=4.0) == [4.0]
        assert await patient == [2.0]
        assert det.sent == [2]
        assert det.traces[1].queue_s < 4.0


async def test_a_batch_belongs_to_the_trace_of_its_first_member(tmp_path: Path) -> None:
    found: list[tracing.TraceContext | None] = []
    traces = [tracing.TraceContext(f"{number:032x}", f"{number:016x}", True) for number in (1, 2)]

    async def execute(batch: Batch) -> None:
        found.append(tracing.current())
        batch.send_apart(batch.seal(0.0))

    async def ask(former: BatchFormer, trace: tracing.TraceContext) -> None:
        tracing.begin_trace(trace)
        request = TensorRequest((tensor_of("x", np.zeros((1, 4), "<f4")),), ("y",), "", {})
        asked = Asked(
            request=request,
            rows=1,
            caller="",
            deadline=None,
            patient=True,
            target_model="",
            traceparent="",
            trace=CallTrace(),
        )
        assert await former.infer(asked, execute) is None

    async with batched(tmp_path, options={"preferred_batch_size": [2], **LONG}) as det:
        # The second one makes the batch go.
        await asyncio.gather(*(ask(det.former, trace) for trace in traces))
    assert found == traces[:1]


async def test_only_like_requests_of_one_caller_share_a_batch(tmp_path: Path) -> None:
    wide = {
        field: [{"name": name, "datatype": "FP32", "shape": [-1, -1]}]
        for field, name in (("inputs", "x"), ("outputs", "y"))
    }
    async with batched(tmp_path, changes=wide) as det:
        holder = await det.hold()
        waiting = [
            det.begin(2.0),
            det.begin(3.0, width=5),
            det.begin(4.0, parameters={"score": 1}),
            det.begin(5.0, parameters={"score": True}),
            det.begin(6.0, caller="else"),
            det.begin(7.0, patient=False),
            det.begin(8.0),
        ]
        await det.forming(7)
        det.release()
        await asyncio.gather(holder, *waiting)
        assert sorted(det.sent) == [1, 1, 1, 1, 1, 1, 2]
        rows = [tensors_of(each)[0].array()[:, 0].tolist() for each in det.endpoint.seen]
        assert [2.0, 8.0] in rows


async def test_a_bad_row_fails_alone(tmp_path: Path) -> None:
    async with batched(tmp_path, slots=4, options={"preferred_batch_size": [4], **LONG}) as det:
        got = await asyncio.gather(
            *[det.ask(each) for each in (2.0, BAD, 3.0, 4.0)], return_exceptions=True
        )
        assert [got[0], got[2], got[3]] == [[4.0], [6.0], [8.0]]
        assert isinstance(got[1], InvalidRequest)
        assert "a bad row" in got[1].message
        assert sorted(det.sent) == [1, 1, 1, 1, 4]
        counts = det.counts
        assert (counts.requests, counts.succeeded, counts.failed) == (4, 3, {"INVALID_REQUEST": 1})
        assert (counts.executions, counts.retries, counts.batches_apart) == (3, 4, 1)
        assert {trace.attempts for trace in det.traces} == {2}
        det.assert_idle()


async def test_an_answer_too_large_for_all_is_asked_for_one_by_one(tmp_path: Path) -> None:
    def respond(invocation: Invocation) -> Reply:
        (x,) = tensors_of(invocation)
        return doubled(invocation) if x.shape[0] == 1 else Reply(200, bytes(17 << 20))

    async with batched(tmp_path, options={"preferred_batch_size": [2], **LONG}) as det:
        det.endpoint.respond = respond
        assert list(await asyncio.gather(det.ask(1.0), det.ask(2.0))) == [[2.0], [4.0]]
        assert det.sent == [2, 1, 1]


async def test_what_the_retry_budget_does_not_pay_for_is_told_to_come_again(
    tmp_path: Path,
) -> None:
    spent = {"retry": {"ratio": 0.0, "floor_per_s": 0.0}}
    options = {"preferred_batch_size": [2], **LONG}
    async with batched(tmp_path, settings=spent, options=options) as det:
        got = await asyncio.gather(det.ask(2.0), det.ask(BAD), return_exceptions=True)
        assert all(isinstance(each, NotReady) and each.retryable for each in got)
        assert det.sent == [2]
        assert (det.counts.budget_exhausted, det.counts.executions) == (2, 0)


EVERYBODYS = [
    (model_error(500, "broken"), TargetError),
    (model_error(0, "your invocation timed out"), DeadlineExceeded),
    (model_error(404, "no such model"), NotFound),
    (answer_of(Tensor("y", "FP32", (1, 4), bytes(16))), TargetError),
]


async def test_what_is_no_request_s_fault_is_everybodys_and_not_sent_again(tmp_path: Path) -> None:
    async with batched(tmp_path, options={"preferred_batch_size": [2], **LONG}) as det:
        for number, (reply, error) in enumerate(EVERYBODYS, 1):
            det.endpoint.replies.append(reply)
            det.endpoint.respond = None
            got = await asyncio.gather(det.ask(1.0), det.ask(2.0), return_exceptions=True)
            assert [type(each) for each in got] == [error, error]
            assert det.sent == [2] * number
        assert (det.counts.batches_apart, det.counts.executions) == (0, 0)
        assert det.counts.batched == 2 * len(EVERYBODYS)


async def test_a_failure_that_may_be_repeated_is_repeated_for_the_batch(tmp_path: Path) -> None:
    replies = [model_error(503, "busy")]

    def respond(invocation: Invocation) -> Reply:
        return replies.pop() if replies else doubled(invocation)

    async with batched(tmp_path, options={"preferred_batch_size": [2], **LONG}) as det:
        det.endpoint.respond = respond
        assert list(await asyncio.gather(det.ask(1.0), det.ask(2.0))) == [[2.0], [4.0]]
        assert det.sent == [2, 2]
        assert (det.counts.retries, det.counts.executions) == (1, 1)


async def test_a_member_that_gives_up_before_is_not_sent(tmp_path: Path) -> None:
    async with batched(tmp_path) as det:
        holder = await det.hold()
        staying, leaving = det.begin(2.0), det.begin(3.0)
        await det.forming(2)
        leaving.cancel()
        await det.forming(1)
        det.release()
        assert list(await asyncio.gather(holder, staying)) == [[2.0], [4.0]]
        assert det.sent == [1, 1]
        assert leaving.cancelled()
        assert det.counts.failed == {"CANCELLED": 1}


async def test_when_all_give_up_while_they_wait_nothing_is_sent(tmp_path: Path) -> None:
    async with batched(tmp_path) as det:
        holder = await det.hold()
        waiting = [det.begin(2.0), det.begin(3.0)]
        await det.forming(2)
        for each in waiting:
            each.cancel()
        await eventually(lambda: det.model.door.waiting == 0)
        det.release()
        assert await holder == [2.0]
        assert det.sent == [1]
        det.assert_idle()


async def test_only_when_all_give_up_is_the_endpoints_call_cancelled(tmp_path: Path) -> None:
    async with batched(tmp_path, options={"preferred_batch_size": [3], **LONG}) as det:
        det.endpoint.hold = asyncio.Event()
        asked = [det.begin(each) for each in (1.0, 2.0, 3.0)]
        await eventually(lambda: det.endpoint.in_flight == 1)
        for leaving in asked[:2]:
            leaving.cancel()
        await asyncio.wait(asked[:2])
        assert (det.model.door.in_flight, det.endpoint.disconnected) == (1, 0)
        asked[2].cancel()
        await eventually(lambda: det.endpoint.disconnected == 1)
        det.assert_idle()
        assert det.sent == [3]


async def test_one_members_deadline_is_its_own(tmp_path: Path) -> None:
    async with batched(tmp_path, options={"preferred_batch_size": [2], **LONG}) as det:
        det.endpoint.hold = asyncio.Event()
        patient, hurried = det.begin(1.0), det.begin(2.0, within_s=0.5)
        with pytest.raises(DeadlineExceeded, match="did not answer the batch"):
            await hurried
        # The batch is on its way for the other, however far a busy machine has brought it.
        await eventually(lambda: det.endpoint.in_flight == 1)
        det.release()
        assert await patient == [2.0]
        assert det.sent == [2]


async def test_a_member_whose_time_is_up_in_the_queue_is_not_sent(tmp_path: Path) -> None:
    async with batched(tmp_path) as det:
        holder = await det.hold()
        patient, hurried = det.begin(2.0), det.begin(3.0, within_s=0.05)
        with pytest.raises(DeadlineExceeded, match="nothing was sent"):
            await hurried
        det.release()
        assert list(await asyncio.gather(holder, patient)) == [[2.0], [4.0]]
        assert det.sent == [1, 1]


async def test_unary_batches_beyond_the_queue_are_refused(tmp_path: Path) -> None:
    async with batched(tmp_path, options={"max_batch_size": 2}) as det:
        holder = await det.hold()
        full = [det.begin(each, patient=False) for each in (2.0, 3.0)]
        await eventually(lambda: det.model.door.waiting == 1)
        with pytest.raises(Overloaded):
            await det.ask(4.0, patient=False)
        det.release()
        await asyncio.gather(holder, *full)
        assert det.sent == [1, 2]


async def test_callers_still_take_turns(tmp_path: Path) -> None:
    async with batched(tmp_path, options={"max_batch_size": 2}) as det:
        holder = await det.hold()
        greedy = [det.begin(float(number), caller="a") for number in range(10, 16)]
        await eventually(lambda: det.model.door.waiting == 3)
        modest = det.begin(99.0, caller="b")
        await eventually(lambda: det.model.door.waiting == 4)
        det.release()
        await asyncio.gather(holder, *greedy, modest)
        rows = [tensors_of(each)[0].array()[:, 0].tolist() for each in det.endpoint.seen]
        assert rows.index([99.0]) == 2, "after one batch of the other's, not after all three"


async def test_rows_that_one_body_can_t_hold_are_two(tmp_path: Path) -> None:
    place = {"name": "det", "kind": "sagemaker", "endpoint": "det", "max_request_bytes": 4096 + 48}
    async with batched(tmp_path, changes={"targets": [place]}) as det:
        holder = await det.hold()
        # Of 16 bytes each, and the room for the header is not theirs.
        waiting = [det.begin(float(number)) for number in range(5)]
        await eventually(lambda: det.model.door.waiting == 2)
        det.release()
        await asyncio.gather(holder, *waiting)
        assert det.sent == [1, 3, 2]


async def test_statistics_tell_inferences_from_executions(tmp_path: Path) -> None:
    async with batched(tmp_path, options={"preferred_batch_size": [4], **LONG}) as det:
        await asyncio.gather(det.ask(1.0), det.ask(2.0, 3.0), det.ask(4.0))
        assert det.sent == [4]
        counts = det.counts
        assert (counts.requests, counts.inferences, counts.executions) == (3, 4, 1)
        assert counts.request_bytes == len(det.endpoint.seen[0].body)
        assert (counts.batched, list(counts.batches)) == (3, [4])
        assert counts.batches[4].target.count == 1
        assert counts.target.count == counts.queue.count == counts.success.count == 3
        (told,) = await det.router.client.statistics("det")
        assert (told.succeeded, told.executions, told.batched_requests) == (3, 1, 3)
        assert told.batches_sent_apart == 0
        for metric, value in ((EXECUTIONS, 1), (BATCHED, 3), (BATCHES_APART, 0)):
            assert metrics.value_of(metric, {"model": "det"}) == value


async def test_whatever_members_do_everyone_gets_the_own_answer_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    random = Random(7)
    options = {"preferred_batch_size": [4, 6], "max_queue_delay_microseconds": 1000}
    budget = {"retry": {"ratio": 1.0, "floor_per_s": 1000.0}}
    async with batched(tmp_path, slots=2, settings=budget, options=options) as det:

        async def one(number: int) -> None:
            rows = [float(100 * number + row) for row in range(random.randint(1, 3))]
            bad, leaves = random.random() < 0.05, random.random() < 0.2
            if bad:
                rows[0] = BAD
            asked = det.begin(*rows, caller=random.choice("abc"))
            if leaves:
                for _ in range(random.randint(1, 30)):
                    await turn()
                asked.cancel()
            await asyncio.wait([asked])
            if asked.cancelled():
                assert leaves
            elif bad:
                assert isinstance(asked.exception(), InvalidRequest)
            else:
                assert asked.result() == [2 * each for each in rows]

        async with asyncio.TaskGroup() as tasks:
            for number in range(300):
                tasks.create_task(one(number))
                await turn()
        await eventually(lambda: det.endpoint.in_flight == 0)
        det.assert_idle()
        counts = det.counts
        assert counts.requests == counts.succeeded + sum(counts.failed.values()) == 300
        assert set(counts.failed) == {"CANCELLED", "INVALID_REQUEST"}
        assert max(det.sent) <= 8
        assert counts.executions < counts.succeeded
        assert counts.executions <= len(det.sent) - counts.batches_apart
        assert counts.batches_apart > 0


async def turn() -> None:
    """Lets everyone else run once."""
    passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(passed.set_result, None)
    await passed
