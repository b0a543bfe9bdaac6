from __future__ import annotations

from simcloud_inference_router.statistics import CallTrace, ModelCounts


def test_an_answer_counts_everywhere_and_a_failure_only_as_such() -> None:
    counts = ModelCounts()
    trace = CallTrace(
        attempts=2,
        retries=1,
        batch_size=3,
        request_bytes=10,
        response_bytes=20,
        queue_s=0.1,
        target_s=0.5,
    )
    counts.record(trace, total_s=0.7, reason=None, now_s=12.5)
    counts.record(CallTrace(attempts=1), total_s=0.1, reason="OVERLOADED", now_s=13.0)
    assert (counts.requests, counts.succeeded, counts.failed) == (2, 1, {"OVERLOADED": 1})
    assert (counts.retries, counts.request_bytes, counts.response_bytes) == (1, 10, 20)
    assert (counts.inferences, counts.last_inference_ms) == (3, 12_500)
    assert (counts.success.count, counts.success.ns) == (1, 700_000_000)
    assert (counts.queue.ns, counts.target.ns) == (100_000_000, 500_000_000)
    assert counts.fail.count == 1
    assert list(counts.batches) == [3]
