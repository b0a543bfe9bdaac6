"""Everything real and a process of its own: S3, uploaders, generators and drivers, all mortal."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from simcloud.dataset.layout import RunLocation
from simcloud.errors import SimcloudError
from simcloud.s3.objects import open_store
from simcloud.spec.plan import Plan
from simcloud_cli.exit_codes import ExitCode
from support.kill_plan import KillPlan, Victim
from support.kill_services import KILLED, Service, lead, says, spawn, tail, tend_s3
from support.s3_server import S3Server

PLAN = Plan(frames=72, frames_per_shard=12)
PART_BYTES = 5 << 20
"""S3's smallest part: two frames, so a shard has six and the end of its tar."""
STALE_AFTER_S = 3.0
REPLICAS = 2
ORDERS = ONE, OTHER, BOTH, OTHER_FIRST = "one", "other", "both", "other-first"
"""Which uploaders a worker knows."""
_MOST_RUNS = 8
"""Of one batch; its kills are carried out in one to three."""
_OPENED = (b"run created", b"run resumed")

# A part is dead or starting, or another worker still has the shard: what `resume` is for.
_TRY_AGAIN = {ExitCode.UNREACHABLE, ExitCode.INCOMPLETE}


@dataclass
class World:
    """Two uploaders, two generators and an S3 server, as long as ``running`` lasts."""

    folder: Path
    spec: Path
    server: S3Server
    plan: KillPlan
    name: str
    """Beginning of its buckets' names."""
    generator: str
    """Module of the generator."""
    uploaders: list[Service] = field(default_factory=list)
    generators: list[Service] = field(default_factory=list)
    active: asyncio.Event = field(default_factory=asyncio.Event)
    commands: int = 0

    def location(self, number: int) -> RunLocation:
        """Each run has a bucket of its own: the same name, the same index."""
        return RunLocation(bucket=f"{self.name}-{number}", prefix="", run="run")

    @property
    def logs(self) -> list[Path]:
        """Of every life of every service."""
        return sorted(self.folder.glob("*.log"))

    async def drive(self, worker: int, location: RunLocation) -> None:
        """One worker: `run`, then `resume` as often as it takes, killed as planned."""
        rng = random.Random(f"{self.plan.seed}.{worker}.{location}")
        created = False
        orders: tuple[str, ...] = (ONE, BOTH) if worker == 0 else (OTHER, OTHER_FIRST)
        while True:
            created = created or await self._exists(location)
            verb = ("resume", location.run) if created else self._run_command(location)
            context = f"{worker}-{rng.choice(orders)}"
            orders = ORDERS
            life = self.plan.begin(Victim.DRIVER)
            process, log = await self._command(location, context, *verb, "--no-score")
            code = await lead(process, life, lambda log=log: says(log, *_OPENED))  # type: ignore[misc]
            if life is not None and code == KILLED:
                self.plan.end(Victim.DRIVER, life)
                continue
            if life is not None:
                self.plan.give_back(Victim.DRIVER, life)
            if code == ExitCode.COMPLETE:
                return
            assert code in _TRY_AGAIN, f"{' '.join(verb)} ended with {code}: {tail(log)}"

    async def verified(self, location: RunLocation) -> dict[str, object]:
        """What `simcloud verify --deep` says, every byte of S3 read again."""
        process, log = await self._command(
            location, f"0-{ONE}", "verify", location.run, "--deep", "--json"
        )
        await lead(process, None, lambda: True)
        text = log.read_text()
        assert "{" in text, text
        report = json.loads(text[text.index("{") :])
        assert isinstance(report, dict)
        return report

    async def _exists(self, location: RunLocation) -> bool:
        try:
            async with open_store(self.server.settings) as store:
                return await store.find(location.bucket, location.spec_key) is not None
        except SimcloudError:
            return False  # S3 is dead; `run` is right in either case

    def _run_command(self, location: RunLocation) -> Sequence[str]:
        plan = ("--frames", str(PLAN.frames), "--frames-per-shard", str(PLAN.frames_per_shard))
        return ("run", str(self.spec), "--name", location.run, "--no-preview", *plan)

    async def _command(
        self, location: RunLocation, context: str, *words: str
    ) -> tuple[asyncio.subprocess.Process, Path]:
        self.commands += 1
        log = self.folder / f"driver.{self.commands}.log"
        config = self.folder / f"{location.bucket}.yaml"
        if not config.exists():
            config.write_text(yaml.safe_dump({"contexts": self._contexts(location.bucket)}))
        process = await spawn(
            ["simcloud_cli", "--context", context, *words],
            log=log,
            environment={"SIMCLOUD_CONFIG": str(config)},
            folder=self.folder,
        )
        return process, log

    def _contexts(self, bucket: str) -> dict[str, object]:
        """By worker, and by which uploaders it knows: one, the other, or both in either order."""
        s3 = self.server.settings
        first, second = (service.address for service in self.uploaders)
        targets = (first, second, f"ipv4:{first},{second}", f"ipv4:{second},{first}")
        return {
            f"{worker}-{order}": {
                "generator": generator.address,
                "uploader": target,
                "uploader_for_generator": target,
                "bucket": bucket,
                "s3": {
                    "endpoint_url": s3.endpoint_url,
                    "region": s3.region,
                    "access_key_id": s3.access_key_id,
                    "secret_access_key": s3.secret_access_key.get_secret_value(),
                    "path_style": True,
                },
            }
            for worker, generator in enumerate(self.generators)
            for order, target in zip(ORDERS, targets, strict=True)
        }


@asynccontextmanager
async def running_world(
    folder: Path, *, spec: Path, server: S3Server, plan: KillPlan, name: str, generator: str
) -> AsyncIterator[World]:
    """The world, its services tended and killed as planned, until the block ends."""
    world = World(
        folder=folder, spec=spec, server=server, plan=plan, name=name, generator=generator
    )
    async with open_store(server.settings) as store:
        for number in range(_MOST_RUNS):
            await store.ensure_bucket(world.location(number).bucket)
    for replica in range(REPLICAS):
        world.uploaders.append(_uploader(world, replica))
        world.generators.append(_generator(world, replica))
    services = [*world.uploaders, *world.generators]
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tending = [tasks.create_task(item.tend(plan, world.active)) for item in services]
        tending.append(tasks.create_task(tend_s3(server, plan, world.active)))
        for service in services:
            await service.ready.wait()
        try:
            yield world
        finally:
            for task in tending:
                task.cancel()


def _s3_settings(server: S3Server) -> dict[str, str]:
    s3 = server.settings
    return {
        "S3__ENDPOINT_URL": s3.endpoint_url or "",
        "S3__REGION": s3.region,
        "S3__ACCESS_KEY_ID": s3.access_key_id,
        "S3__SECRET_ACCESS_KEY": s3.secret_access_key.get_secret_value(),
        "S3__PATH_STYLE": "true",
        "LOG_REQUESTS": "false",
    }


def _uploader(world: World, replica: int) -> Service:
    buckets = (world.location(number).bucket for number in range(_MOST_RUNS))
    return Service(
        victim=Victim.UPLOADER,
        name=f"uploader-{replica}",
        module="simcloud_uploader",
        prefix="SIMCLOUD_UPLOADER_",
        settings={
            **_s3_settings(world.server),
            "PART_SIZE_BYTES": str(PART_BYTES),
            "BUDGET_BYTES": str(256 << 20),
            "STALE_AFTER_S": str(STALE_AFTER_S),
            "SWEEP_INTERVAL_S": "4",
            "SWEEP_PREFIXES": ",".join(buckets),
        },
        folder=world.folder,
    )


def _generator(world: World, replica: int) -> Service:
    return Service(
        victim=Victim.GENERATOR,
        name=f"generator-{replica}",
        module=world.generator,
        prefix="SIMCLOUD_GENERATOR_",
        settings={
            **_s3_settings(world.server),
            "CACHE_DIR": str(world.folder / f"cache-{replica}"),
            "WORKERS": "1",
            "BACKEND_VARIANT": "scalar_rgb",
        },
        folder=world.folder,
    )
