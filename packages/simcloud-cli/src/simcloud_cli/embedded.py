"""The embedded stack: a real S3 server, the model container and the three services on loopback.

Each is a process of its own, as in every other deployment; only where they listen differs. What S3
holds stays in the state folder between runs, so that a run resumes.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from simcloud.errors import NotReady, SimcloudError
from simcloud_cli import readiness
from simcloud_cli.model_catalog import weights_folder, write_catalog
from simcloud_cli.processes import ChildProcess, ProcessSpec, stop_in_turn
from simcloud_cli.seaweed import REGION, SeaweedServer
from simcloud_cli.statedir import StackInfo, StateDir
from simcloud_cli.turns import until_unused

T = TypeVar("T")

_DRAIN_S = 10
"""Shorter than the services' own default: on a laptop somebody waits for the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the stack listens on loopback; 0 takes a free port."""

    s3: int = 0
    model: int = 0
    generator: int = 0
    uploader: int = 0
    router: int = 0

    def refuse_taken(self) -> None:
        """Returns when all of them are free.

        Raises:
            PreconditionFailed: one isn't; it is named.
        """
        readiness.refuse_taken_port(self.s3, "S3 server")
        readiness.refuse_taken_port(self.model, "model container")
        readiness.refuse_taken_port(self.generator, "generator")
        readiness.refuse_taken_port(self.uploader, "uploader")
        readiness.refuse_taken_port(self.router, "inference-router")


FIXED_PORTS = Ports(s3=8333, model=8080, generator=50051, uploader=50052, router=50053)
"""What `simcloud up` listens on, so that other tools find it again."""


class Part(StrEnum):
    """What a command needs beside S3; starting less is faster."""

    UPLOADER = "uploader"
    ROUTER = "inference-router"
    """With the model container behind it."""
    GENERATOR = "generator"


EVERYTHING = frozenset(Part)


class EmbeddedStack:
    """A running stack."""

    def __init__(self, info: StackInfo, children: list[ChildProcess]) -> None:
        self.info = info
        self._children = children

    async def first_death(self) -> NotReady:
        """Waits until a process ends by itself, and says how."""
        async with asyncio.TaskGroup() as tasks:
            watchers = [tasks.create_task(child.until_dead()) for child in self._children]
            done, _ = await asyncio.wait(watchers, return_when=asyncio.FIRST_COMPLETED)
            for watcher in watchers:
                watcher.cancel()
        return next(iter(done)).result()

    async def supervise(self, work: Coroutine[object, object, T]) -> T:
        """Does some work as long as every process lives.

        Raises:
            NotReady: a process ended by itself; the work was cancelled.
        """
        async with asyncio.TaskGroup() as tasks:
            death = tasks.create_task(self.first_death())
            job = tasks.create_task(_outcome(work))
            await asyncio.wait({death, job}, return_when=asyncio.FIRST_COMPLETED)
            dead = death.done()
            job.cancel()
            death.cancel()
        if dead:
            raise death.result()
        result = job.result()
        if isinstance(result, SimcloudError):
            raise result
        return result


async def _outcome(work: Coroutine[object, object, T]) -> T | SimcloudError:
    """The work's result or its error, so that a task group doesn't wrap it."""
    try:
        return await work
    except SimcloudError as error:
        return error


@asynccontextmanager
async def running_stack(
    state: StateDir,
    *,
    bucket: str,
    ports: Ports,
    parts: frozenset[Part] = EVERYTHING,
    say: Callable[[str], None] = lambda _: None,
    serves: bool = False,
) -> AsyncIterator[EmbeddedStack]:
    """Starts everything, waits until it can work, stops everything at the end.

    At the end of the block it waits for other commands that use the stack; cancelled, it does not.

    Args:
        state: its folder; held for as long as the stack runs.
        bucket: made if it isn't there.
        ports: where to listen.
        parts: what to start beside S3.
        say: told what happens, a line at a time.
        serves: it is there for other commands, until it is stopped.

    Raises:
        StackHeld: a stack runs in that folder.
        PreconditionFailed: no space, no permission, or a port is taken; nothing was started.
        NotReady: a process died or didn't get ready; its log's tail is in the message.
    """
    state.prepare()
    with state.hold(serves=serves):
        # After the lock: what listens on the ports may be the stack of this very folder.
        ports.refuse_taken()
        children: list[ChildProcess] = []
        try:
            builder = _Builder(state, bucket=bucket, ports=ports, children=children, say=say)
            info = await builder.start(parts)
            state.announce(info)
            try:
                yield EmbeddedStack(info, children)
            except Exception:
                await until_unused(state, say)
                raise
            await until_unused(state, say)
        finally:
            state.forget()
            say("stopping")
            # Order: who calls is stopped before who is called (generator, router, uploader, model,
            # S3), the reverse of the start; each finishes or checkpoints what it has.
            await stop_in_turn(children[::-1])


class _Builder:
    """Starts the processes in the order in which they need each other."""

    def __init__(
        self,
        state: StateDir,
        *,
        bucket: str,
        ports: Ports,
        children: list[ChildProcess],
        say: Callable[[str], None],
    ) -> None:
        self._state = state
        self._bucket = bucket
        self._ports = ports
        self._children = children
        self._say = say
        self._access_key, self._secret_key = _credentials(state.path / "credentials.json")

    async def start(self, parts: frozenset[Part]) -> StackInfo:
        """Starts S3 and some parts; who is called is ready before who calls is started."""
        seaweed = SeaweedServer(
            data_dir=self._state.data,
            log_file=self._state.logs / "s3.log",
            access_key=self._access_key,
            secret_key=self._secret_key,
            port=self._ports.s3,
        )
        first = [seaweed.process_spec()]
        if Part.ROUTER in parts:
            first.append(self._model_spec())
        await self._together(*first)
        await seaweed.create_bucket(self._bucket)
        s3 = _s3_environment(seaweed)
        second = []
        if Part.UPLOADER in parts:
            second.append(self._service(Part.UPLOADER, self._ports.uploader, s3))
        if Part.ROUTER in parts:
            second.append(self._router_spec(s3))
        if Part.GENERATOR in parts:
            second.append(self._generator_spec(s3))
        await self._together(*second)
        return StackInfo(
            pid=os.getpid(),
            generator=self._target(Part.GENERATOR) if Part.GENERATOR in parts else "",
            uploader=self._target(Part.UPLOADER) if Part.UPLOADER in parts else "",
            router=self._target(Part.ROUTER) if Part.ROUTER in parts else "",
            s3_endpoint=seaweed.endpoint_url,
            model_endpoint=self._model_url() if Part.ROUTER in parts else "",
            bucket=self._bucket,
            access_key=self._access_key,
            secret_key=self._secret_key,
        )

    async def _together(self, *specs: ProcessSpec) -> None:
        """Starts processes that don't need each other and waits for all of them."""
        if specs:
            self._say("starting " + ", ".join(spec.name for spec in specs))
        started = []
        for spec in specs:
            child = await ChildProcess.start(spec)
            self._children.append(child)
            started.append(child)
        for child in started:
            await child.until_ready()

    def _model_spec(self) -> ProcessSpec:
        port_file = self._port_file("model")
        prefix = "SIMCLOUD_MODEL_CONTAINER_"
        return ProcessSpec(
            name="model container",
            argv=[sys.executable, "-m", "simcloud_model_container"],
            env={
                f"{prefix}HOST": "127.0.0.1",
                f"{prefix}PORT": str(self._ports.model),
                f"{prefix}PORT_FILE": str(port_file),
                # Signatures are checked, so that the router's signing is the one of production.
                f"{prefix}SIGV4_ACCESS_KEY_ID": self._access_key,
                f"{prefix}SIGV4_SECRET_ACCESS_KEY": self._secret_key,
            },
            log=self._state.logs / "model.log",
            ready=readiness.http_ready(port_file, "/ping"),
        )

    def _model_url(self) -> str:
        return f"http://127.0.0.1:{readiness.http_port(self._port_file('model'))}"

    def _router_spec(self, s3: Mapping[str, str]) -> ProcessSpec:
        catalog = self._state.path / "catalog.yaml"
        write_catalog(catalog, folder=weights_folder(), model_url=self._model_url())
        return self._service(
            Part.ROUTER,
            self._ports.router,
            {
                **s3,
                "CATALOG": str(catalog),
                "ALLOWED_BUCKETS": self._bucket,
                # On loopback, for whoever can call it at all: `simcloud router`.
                "ADMINS": "anonymous",
                "REGION": REGION,
                "SAGEMAKER__ACCESS_KEY_ID": self._access_key,
                "SAGEMAKER__SECRET_ACCESS_KEY": self._secret_key,
            },
        )

    def _generator_spec(self, settings: Mapping[str, str]) -> ProcessSpec:
        own = {"CACHE_DIR": str(self._state.path / "cache")}
        if self._ports.uploader:
            # A free port is not known yet: callers then name the uploader with every call, so that
            # the two can start at once.
            own["UPLOADER_TARGET"] = f"127.0.0.1:{self._ports.uploader}"
        return self._service(Part.GENERATOR, self._ports.generator, {**settings, **own})

    def _service(self, part: Part, port: int, settings: Mapping[str, str]) -> ProcessSpec:
        name = part.value
        module = "simcloud_" + name.replace("-", "_")
        port_file = self._port_file(name)
        prefix = module.upper() + "_"
        common = {
            "LISTEN": f"127.0.0.1:{port}",
            "PORT_FILE": str(port_file),
            "DRAIN_S": str(_DRAIN_S),
        }
        return ProcessSpec(
            name=name,
            argv=[sys.executable, "-m", module],
            env={prefix + key: value for key, value in {**common, **settings}.items()},
            log=self._state.logs / f"{name}.log",
            ready=readiness.grpc_ready(port_file),
            stop_within_s=_DRAIN_S + 5.0,
        )

    def _port_file(self, name: str) -> Path:
        return self._state.ports / f"{name}.json"

    def _target(self, name: str) -> str:
        return f"127.0.0.1:{readiness.grpc_port(self._port_file(name))}"


def _s3_environment(seaweed: SeaweedServer) -> dict[str, str]:
    settings = seaweed.settings
    return {
        "S3__ENDPOINT_URL": settings.endpoint_url,
        "S3__REGION": settings.region,
        "S3__ACCESS_KEY_ID": settings.access_key_id,
        "S3__SECRET_ACCESS_KEY": settings.secret_access_key.get_secret_value(),
        "S3__PATH_STYLE": "true",
    }


def _credentials(path: Path) -> tuple[str, str]:
    """Access key and secret of the stack's S3; made once, readable by this user alone."""
    try:
        content = json.loads(path.read_text())
        return content["access_key"], content["secret_key"]
    except FileNotFoundError:
        made = {
            "access_key": "simcloud" + secrets.token_hex(6),
            "secret_key": secrets.token_hex(20),
        }
    path.touch(mode=0o600)
    path.write_text(json.dumps(made) + "\n")
    return made["access_key"], made["secret_key"]
