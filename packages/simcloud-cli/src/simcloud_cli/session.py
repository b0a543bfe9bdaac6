"""A command's connections: the context in force, its services and S3.

In an embedded context the stack of `simcloud up` is used when it runs; else what the command needs
is started for as long as it works.
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
from simcloud.dataset.layout import RunLocation
from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud.report.howto import DataLocation
from simcloud.rpc.channel import connect
from simcloud.s3.client import S3Settings
from simcloud.s3.objects import ObjectStore, open_store
from simcloud_cli.context import Context, current_name, load_config
from simcloud_cli.embedded import FIXED_PORTS, Part, Ports, running_stack
from simcloud_cli.output import console
from simcloud_cli.state import options
from simcloud_cli.statedir import StackInfo, StateDir

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
            raise PreconditionFailed(
                f"context {self.name} names no {field}: set it with "
                f"`simcloud context set {self.name} {field}=host:port`"
            )
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
        return await _connected(name, context, work)
    state = state_dir(context)
    info = state.running()
    if info is not None:
        _refuse_partial(info, needs, state)
        return await _connected(name, _filled_in(context, info), work)
    out = console(stderr=True)
    async with running_stack(
        state,
        bucket=context.bucket,
        ports=Ports(),
        parts=needs,
        say=lambda line: out.print(f"[dim]{line}[/]"),
    ) as stack:
        return await stack.supervise(_connected(name, _filled_in(context, stack.info), work))


async def _connected(name: str, context: Context, work: Callable[[Session], Awaitable[T]]) -> T:
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
        return await work(Session(name=name, context=context, store=store, channels=channels))


def _filled_in(context: Context, info: StackInfo) -> Context:
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


def _refuse_partial(info: StackInfo, needs: frozenset[Part], state: StateDir) -> None:
    has = {
        Part.GENERATOR: info.generator,
        Part.UPLOADER: info.uploader,
        Part.ROUTER: info.router,
    }
    missing = sorted(part.value for part in needs if not has[part])
    if missing:
        raise PreconditionFailed(
            f"another command (process {info.pid}) uses {state.path} without {', '.join(missing)}: "
            "wait for it to end, or keep the whole stack running with `simcloud up`"
        )
