"""A command's connections: the context in force, its services and S3.

In an embedded context the stack that runs in the state folder is used, `simcloud up`'s or another
command's, when it has what is needed; else that is started for as long as the command works, after
a command whose stack has less.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc.aio
from pydantic import SecretStr

from simcloud.client.generator import GeneratorClient
from simcloud.client.router import RouterClient
from simcloud.client.uploader import UploaderClient
from simcloud.concurrency import OneOperation
from simcloud.dataset.layout import RunLocation, check_run
from simcloud.errors import InvalidRequest, NotReady
from simcloud.report.howto import DataLocation
from simcloud.rpc.channel import connect
from simcloud.s3.client import S3Settings
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.spec.model import Spec
from simcloud_cli.context import Context, current_name, load_config
from simcloud_cli.embedded import FIXED_PORTS, Part, Ports, running_stack
from simcloud_cli.output import console
from simcloud_cli.reach import reached, unnamed
from simcloud_cli.specfile import SpecFile
from simcloud_cli.state import options
from simcloud_cli.statedir import StackHeld, StackInfo, StateDir
from simcloud_cli.turns import Turn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """Open connections of one command."""

    name: str
    """Of the context."""
    context: Context
    """With the endpoints of the embedded stack filled in."""
    store: ObjectStore
    channels: dict[Part, grpc.aio.Channel]
    targets: dict[Part, str]
    """Where the channels lead: `host:port`."""

    @property
    def generator(self) -> GeneratorClient:
        """Its generator; PreconditionFailed when the context names none."""
        return GeneratorClient(self._channel(Part.GENERATOR, "generator"))

    @property
    def uploader(self) -> UploaderClient:
        """Its uploader; PreconditionFailed when the context names none."""
        return UploaderClient(self._channel(Part.UPLOADER, "uploader"))

    @property
    def router(self) -> RouterClient:
        """Its inference-router; PreconditionFailed when the context names none."""
        return RouterClient(self._channel(Part.ROUTER, "router"))

    def location(self, run: str) -> RunLocation:
        """Where a run lives: a name in the context's bucket, or a whole ``s3://`` URI.

        Raises:
            InvalidRequest: it can't be a run.
        """
        if run.startswith("s3://"):
            location = RunLocation.from_uri(run)
            if location.bucket != self.context.bucket:
                raise InvalidRequest(
                    "run", f"{run} is not in the context's bucket {self.context.bucket}"
                )
            return location
        return RunLocation(bucket=self.context.bucket, prefix=self.context.prefix, run=run)

    async def reach(self, needs: frozenset[Part]) -> None:
        """Connects to the services that a command needs, all at once.

        Raises:
            NotReady: one can't be reached; it is named with its address.
        """
        async with OneOperation() as tasks:
            for part in needs & self.channels.keys():
                tasks.create_task(
                    reached(
                        self.channels[part],
                        what=f"the {part.value} of context {self.name}",
                        target=self.targets[part],
                        patience_s=self.context.wait_for_services_s,
                        look=f"simcloud --context {self.name} doctor",
                    )
                )

    def data_location(self, location: RunLocation, last_shard: int) -> DataLocation:
        """Where a run is for other tools; on the embedded stack as `simcloud up` serves it."""
        endpoint = self.context.s3.endpoint_url
        if self.context.embedded:
            endpoint = f"http://127.0.0.1:{FIXED_PORTS.s3}"
        return DataLocation(
            bucket=location.bucket,
            run_prefix=location.root.rstrip("/"),
            endpoint_url=endpoint,
            region=self.context.s3.region,
            path_style=self.context.s3.path_style,
            last_shard=last_shard,
        )

    def _channel(self, part: Part, field: str) -> grpc.aio.Channel:
        channel = self.channels.get(part)
        if channel is None:
            raise unnamed(self.name, field)
        return channel


def current_context() -> tuple[str, Context]:
    """Name and content of the context in force, options applied."""
    config = load_config()
    name = current_name(config, options.context)
    context = config.named(name)
    if options.state_dir is not None:
        context = context.model_copy(update={"state_dir": options.state_dir})
    return name, context


def state_dir(context: Context) -> StateDir:
    """Folder of the embedded stack."""
    return StateDir(Path(context.state_dir).expanduser())


async def in_session(needs: frozenset[Part], work: Callable[[Session], Awaitable[T]]) -> T:
    """Does a command's work with what it needs of the services, S3 always.

    Raises:
        NotReady: the embedded stack didn't start, or one of its processes died.
        NotFound: no such context.
    """
    name, context = current_context()
    if not context.embedded:
        return await _connected(name, context, needs, work)
    return await _on_this_machine(name, context, needs, work)


async def _on_this_machine(
    name: str, context: Context, needs: frozenset[Part], work: Callable[[Session], Awaitable[T]]
) -> T:
    """With the state folder's stack if that has what is needed, else with one of its own."""
    state = state_dir(context)
    out = console(stderr=True)

    def say(line: str) -> None:
        out.print(f"[dim]{line}[/]")

    turn = Turn(state, say)
    while True:
        with state.share() as info:
            if info is not None and has(info, needs):
                return await _connected(name, filled_in(context, info), needs, work)
        try:
            async with running_stack(
                state, bucket=context.bucket, ports=Ports(), parts=needs, say=say
            ) as stack:
                return await stack.supervise(
                    _connected(name, filled_in(context, stack.info), needs, work)
                )
        except StackHeld as held:
            await turn.wait(held)


def s3_of(name: str | None) -> S3Settings:
    """How S3 of a context is reached; without a name of the one in force.

    Raises:
        NotFound: no such context.
        NotReady: it is an embedded one and its stack doesn't run.
    """
    config = load_config()
    chosen = name or current_name(config, options.context)
    context = config.named(chosen)
    if not context.embedded:
        return context.s3
    if options.state_dir is not None:
        context = context.model_copy(update={"state_dir": options.state_dir})
    info = state_dir(context).running()
    if info is None:
        raise NotReady(f"the stack of context {chosen} doesn't run: start it with `simcloud up`")
    return filled_in(context, info).s3


def check_run_name(run: str) -> None:
    """Returns when a run can have this name or URI: known before anything is started.

    Raises:
        InvalidRequest: it can't; the rule is said.
    """
    if run.startswith("s3://"):
        RunLocation.from_uri(run)
    else:
        check_run(run, field="run")


async def check_spec(
    session: Session, spec_file: SpecFile, spec: Spec, say: Callable[[str], None]
) -> None:
    """Has the generator look at a spec and its stored scene, as it does before a first frame.

    Args:
        session: with a generator; the scene is in its bucket.
        spec_file: where the spec was read.
        spec: it, with its renderer resolved.
        say: told the warnings.

    Raises:
        InvalidRequest: it would be refused; everything that is wrong is said.
    """
    context = session.context
    check = await session.generator.validate(spec, bucket=context.bucket, prefix=context.prefix)
    for warning in check.warnings:
        say(f"warning: {warning}")
    if not check.valid:
        found = "; ".join(f"{field}: {problem}" for field, problem in check.violations)
        raise InvalidRequest(str(spec_file.path), found)


async def _connected(
    name: str, context: Context, needs: frozenset[Part], work: Callable[[Session], Awaitable[T]]
) -> T:
    targets = {
        Part.GENERATOR: context.generator,
        Part.UPLOADER: context.uploader,
        Part.ROUTER: context.router,
    }
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(context.s3))
        channels = {}
        for part, target in targets.items():
            if target:
                channel = connect(target, tls=context.tls)
                channels[part] = await stack.enter_async_context(channel)
        session = Session(
            name=name, context=context, store=store, channels=channels, targets=targets
        )
        await session.reach(needs)
        return await work(session)


def filled_in(context: Context, info: StackInfo) -> Context:
    """An embedded context with the places of the stack that runs."""
    return context.model_copy(
        update={
            "generator": info.generator,
            "uploader": info.uploader,
            "uploader_for_generator": info.uploader,
            "router": info.router,
            "s3": S3Settings(
                endpoint_url=info.s3_endpoint,
                access_key_id=info.access_key,
                secret_access_key=SecretStr(info.secret_key),
                path_style=True,
            ),
        }
    )


def has(info: StackInfo, needs: frozenset[Part]) -> bool:
    """Whether a stack has the services that are needed."""
    where = {
        Part.GENERATOR: info.generator,
        Part.UPLOADER: info.uploader,
        Part.ROUTER: info.router,
    }
    return all(where[part] for part in needs)
