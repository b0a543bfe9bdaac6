"""`simcloud verify --repair` writes the index that a dead writer didn't."""

from __future__ import annotations

import pytest

from simcloud.accounting.reconcile import reconcile
from simcloud.dataset.index import load_index
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.rundoc import write_plan, write_spec
from simcloud.errors import NotFound, PreconditionFailed
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from simcloud_cli.repair import repair_indexes
from support.dataset_frames import SPEC, put_shard

PLAN = Plan(frames=6, frames_per_shard=2)


@pytest.fixture
async def location(store: ObjectStore, bucket: str) -> RunLocation:
    """A run of three shards: one committed, one without its index, one never made."""
    found = RunLocation(bucket=bucket, prefix="", run="torn")
    await write_spec(store, found, SPEC, {})
    await write_plan(store, found, PLAN, 1)
    await put_shard(store, found, PLAN.shard(0))
    return found


async def test_a_tar_without_index_becomes_committed_with_the_index_it_would_have_had(
    store: ObjectStore, location: RunLocation
) -> None:
    expected = await put_shard(store, location, PLAN.shard(1), with_index=False)
    assert (await reconcile(store, location)).stored == 4
    assert await repair_indexes(store, location) == [1]
    assert await load_index(store, location, 1) == expected
    report = await reconcile(store, location)
    assert report.stored == 8
    assert [item.shard.shard for item in report.missing] == [2]
    assert await repair_indexes(store, location) == []


async def test_nothing_of_an_aborted_run_is_repaired(
    store: ObjectStore, location: RunLocation
) -> None:
    await put_shard(store, location, PLAN.shard(1), with_index=False)
    await store.put(location.bucket, location.aborted_key, b"{}")
    with pytest.raises(PreconditionFailed, match="was aborted"):
        await repair_indexes(store, location)


async def test_a_run_that_is_not_there_cannot_be_repaired(store: ObjectStore, bucket: str) -> None:
    with pytest.raises(NotFound, match="no run"):
        await repair_indexes(store, RunLocation(bucket=bucket, prefix="", run="none"))
