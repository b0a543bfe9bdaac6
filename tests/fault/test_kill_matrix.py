"""kill -9 of everything, at random moments and between the steps of the commit protocol.

Two workers make the same run, each with a generator of its own, over two uploader replicas and one
S3 server. A batch of kills strikes all of them, any number of times a run; who dies is started
again, as an orchestrator does, a driver with `resume`. ``SIMCLOUD_KILLS`` says how many kills, and
``SIMCLOUD_KILL_SEED`` which: a failing batch prints its seed, and with it the same plan is drawn.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from simcloud.dataset.layout import RunLocation
from simcloud.errors import SimcloudError
from simcloud.failpoints import Failpoint
from simcloud.s3.objects import open_store
from support.eventually import eventually
from support.kill_log import Tally, audit, read_log
from support.kill_plan import BATCH, BATCH_KILLS, KillPlan, Victim, empty_plan, make_plan
from support.kill_scene import write_spec
from support.kill_store import StoredShard, Watcher, leftovers, stored_shards
from support.kill_world import PLAN, World, running_world
from support.s3_server import S3Server, running_s3_server
from support.told import TOLD

KILLS = int(os.environ.get("SIMCLOUD_KILLS", "60"))
SEED = int(os.environ.get("SIMCLOUD_KILL_SEED") or secrets.randbelow(1_000_000))
MIN_FRAME_BYTES = 2 << 20
MIN_PARTS = 6
GENERATORS = {"rendered": "simcloud_generator", "noise": "support.noise_generator"}
"""Frames of one batch in three are rendered; others' cost no CPU, and nothing else differs."""


@dataclass
class Ground:
    """What all batches share: a server, a spec, and the run that nobody disturbed."""

    folder: Path
    spec: Path
    server: S3Server
    calm: dict[str, dict[int, StoredShard]] = field(default_factory=dict)
    tallies: list[Tally] = field(default_factory=list)
    """Of the shaken runs so far."""

    async def undisturbed(self, kind: str) -> dict[int, StoredShard]:
        """The shards as a generator makes them without a kill; made once."""
        if kind not in self.calm:
            async with running_world(
                new_folder(self.folder, f"calm-{kind}"),
                spec=self.spec,
                server=self.server,
                plan=empty_plan(),
                name=f"calm-{kind}",
                generator=GENERATORS[kind],
            ) as world:
                world.active.set()
                location = world.location(0)
                await world.drive(0, location)
                async with open_store(self.server.settings) as store:
                    calm = await stored_shards(store, location)
            assert len(calm) == PLAN.shard_count
            for shard in calm.values():
                assert shard.parts >= MIN_PARTS
                assert shard.size_bytes >= PLAN.frames_per_shard * MIN_FRAME_BYTES
            tally = run_log(world, location)
            assert (tally.rendered, tally.restarts) == (PLAN.frames, 0)
            assert tally.problems == []
            self.calm[kind] = calm
        return self.calm[kind]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("kills")
    with running_s3_server(folder / "s3") as server:
        yield Ground(folder=folder, spec=write_spec(folder / "spec"), server=server)


def new_folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


def run_log(world: World, location: RunLocation) -> Tally:
    """One run by the logs of all that had a part in it."""
    lines = [line for log in world.logs for line in read_log(log) if line.run == str(location)]
    firsts = [shard.first for shard in PLAN.shards()]
    return audit(lines, first_frames=firsts)


async def shaken_run(world: World, location: RunLocation, calm: dict[int, StoredShard]) -> Tally:
    """One run from nothing to its end under kills, and everything that must be true of it."""
    settings = world.server.settings
    watcher, ended = Watcher(settings, location, calm), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watcher.watch(ended))
        world.active.set()
        workers = [tasks.create_task(world.drive(worker, location)) for worker in (0, 1)]
        await asyncio.wait(workers)
        world.active.clear()
        ended.set()
    assert watcher.looks

    async def is_up() -> bool:
        with suppress(SimcloudError):  # S3 was killed last and starts again
            async with open_store(settings) as store:
                return await store.find(location.bucket, location.manifest_key(1)) is not None
        return False

    await eventually(is_up, within_s=60, what="the manifest of a run that is complete")
    report = await world.verified(location)
    assert report["planned"] == report["stored"] == PLAN.frames, report
    assert report["quarantined"] == 0
    assert report["problems"] == []
    async with open_store(settings) as store:
        assert await stored_shards(store, location) == calm

        async def swept() -> bool:
            assert await leftovers(store, location) == []
            return True

        await eventually(swept, within_s=60, what="nothing is left of the uploads")
    tally = run_log(world, location)
    assert tally.problems == []
    return tally


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("batch", range(-(-KILLS // BATCH_KILLS)))
async def test_every_run_ends_whole_by_resume_whatever_is_killed_and_how_often(
    batch: int, ground: Ground, record_property: Callable[[str, object], None]
) -> None:
    plan = make_plan(SEED + batch)
    record_property(TOLD, f"{plan} (again: SIMCLOUD_KILL_SEED={plan.seed} SIMCLOUD_KILLS=1)")
    # By the seed, so that it says this too; one in three of consecutive ones.
    kind = "noise" if plan.seed % 3 else "rendered"
    calm = await ground.undisturbed(kind)
    began = time.monotonic()
    tallies: list[Tally] = []
    name = f"batch-{batch}"
    async with running_world(
        new_folder(ground.folder, name),
        spec=ground.spec,
        server=ground.server,
        plan=plan,
        name=name,
        generator=GENERATORS[kind],
    ) as world:
        while not plan.done:
            tallies.append(await shaken_run(world, world.location(len(tallies)), calm))
    told = summary(plan, tallies, seconds=time.monotonic() - began)
    record_property(TOLD, told)
    assert plan.carried_out == {str(kind): count for kind, count in BATCH.items()}
    assert sum(tally.continued for tally in tallies) > 0, told
    ground.tallies += tallies


def test_another_replica_went_on_behind_the_last_durable_part(ground: Ground) -> None:
    assert sum(tally.continued_by_another for tally in ground.tallies) > 0


def summary(plan: KillPlan, tallies: list[Tally], *, seconds: float) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(plan.carried_out.items()))
    rendered = sum(tally.rendered for tally in tallies)
    return (
        f"seed {plan.seed}: {plan.carried_out.total()} kills ({kinds}) in {len(tallies)} runs of "
        f"{PLAN.frames} frames and {seconds:.0f} s: {rendered} frames rendered, "
        f"{sum(t.continued for t in tallies)} shards gone on with, "
        f"{sum(t.continued_by_another for t in tallies)} of them by another replica, "
        f"{sum(t.restarts for t in tallies)} uploads begun again, "
        f"{sum(t.in_vain for t in tallies)} frames in vain"
    )


def test_the_matrix_has_at_least_ten_kills_between_any_two_steps_of_the_commit() -> None:
    batches = -(-60 // BATCH_KILLS)
    points = (Failpoint.AFTER_PART, Failpoint.AFTER_EPOCH, Failpoint.AFTER_COMPLETE)
    assert all(batches * BATCH[point] >= 10 for point in points)
    assert all(BATCH[victim] for victim in Victim)
