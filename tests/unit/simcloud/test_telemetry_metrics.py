from __future__ import annotations

import pytest

from simcloud.concurrency import ByteBudget, open_channel
from simcloud.telemetry import metrics, names
from simcloud.telemetry.names import Metric, declare, declared


def test_names_follow_the_conventions() -> None:
    for metric in declared():
        assert metric.name == metric.name.lower()
        assert metric.help.endswith(".")
        assert not metric.name.endswith("_total")
        if metric.kind == "histogram":
            assert metric.name.endswith(("_seconds", "_bytes", "_ratio")) or not metric.buckets
            assert list(metric.buckets) == sorted(metric.buckets)


def test_a_metric_is_declared_once() -> None:
    again = Metric(
        name=names.RPC_STARTED.name,
        kind="counter",
        help=names.RPC_STARTED.help,
        labels=names.RPC_STARTED.labels,
    )
    assert declare(again) == names.RPC_STARTED
    with pytest.raises(ValueError, match="declared twice"):
        declare(Metric(name=names.RPC_STARTED.name, kind="gauge", help="Another."))


def test_a_metric_is_made_once_and_as_declared() -> None:
    metric = declare(Metric(name="unit_test_items", kind="counter", help="Items.", labels=("k",)))
    metrics.counter(metric).labels("a").inc(2)
    assert metrics.counter(metric) is metrics.counter(metric)
    assert metrics.value_of(metric, {"k": "a"}) == 2
    assert metrics.value_of(metric, {"k": "b"}) == 0
    with pytest.raises(ValueError, match="declared as a counter"):
        metrics.gauge(metric)
    assert b'unit_test_items_total{k="a"} 2.0' in metrics.exposition()


def test_named_budgets_and_channels_are_exported_summed_by_name() -> None:
    first, second = ByteBudget(10, name="unit"), ByteBudget(5, name="unit")
    lease = first.try_acquire(4)
    send, receive = open_channel[int](3, name="unit")
    send.send_nowait(1)
    text = metrics.exposition().decode()
    assert 'simcloud_budget_limit_bytes{budget="unit"} 15.0' in text
    assert 'simcloud_budget_in_use_bytes{budget="unit"} 4.0' in text
    assert 'simcloud_channel_buffered{channel="unit"} 1.0' in text
    assert second.in_use == 0
    assert lease is not None
    lease.release()
    receive.close()
