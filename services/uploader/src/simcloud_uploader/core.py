"""The uploader without its transport: what the servicer calls."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from simcloud.client._wire import CommittedShard, RunSummary
from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.concurrency import ByteBudget
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.runs import RunIsAborted
from simcloud.errors import InvalidRequest, SimcloudError
from simcloud.s3.checking import CheckingStore
from simcloud.s3.client import S3Client, open_client
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import RetryPolicy
from simcloud_uploader.capable import ServerCheck
from simcloud_uploader.commit import Committer
from simcloud_uploader.documents import Documents
from simcloud_uploader.facts import Facts
from simcloud_uploader.live import LiveStreams, ShardKey
from simcloud_uploader.messages import OpenRequest, Request
from simcloud_uploader.multipart import Completer, PartUploader
from simcloud_uploader.periodic_sweep import PeriodicSweep
from simcloud_uploader.runs import Runs
from simcloud_uploader.session import Means, Send, ShardSession
from simcloud_uploader.settings import UploaderSettings
from simcloud_uploader.shard_open import ShardOpener
from simcloud_uploader.slots import AdaptiveSlots
from simcloud_uploader.summaries import Summaries
from simcloud_uploader.sweeper import Stopped, Sweeper

MAX_REASON_BYTES = 256


class Uploader:
    """Runs and shards of one S3. Its state is in S3; a process holds only what streams through.

    Args:
        client: raw S3 client.
        settings: the uploader's.
        clock: for idle time-outs, retry budgets and the pace of uploads.
    """

    def __init__(
        self, client: S3Client, settings: UploaderSettings, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        owner = settings.s3.expected_bucket_owner
        single = settings.allow_unconditional_writes_single_writer
        plain = ObjectStore(client, expected_bucket_owner=owner)
        self.server_check = ServerCheck(plain, enabled=settings.probe_s3, single_writer=single)
        store = CheckingStore(client, expected_bucket_owner=owner) if single else plain
        # Parts are tried again by PartUploader, which must see each answer.
        once = ObjectStore(client, expected_bucket_owner=owner, retry=RetryPolicy(attempts=1))
        self.instance = secrets.token_hex(8)
        self.budget = ByteBudget(settings.budget_bytes, name="uploader")
        self.live = LiveStreams(patience_s=settings.cleanup_s)
        facts = Facts(settings.facts_bytes)
        self.runs = Runs(store, Summaries(store, facts))
        self._sweeper = Sweeper(
            store, upload_ttl_s=settings.upload_ttl_s, stale_after_s=settings.stale_after_s
        )
        self.periodic_sweep = PeriodicSweep(
            self._sweeper,
            interval_s=settings.sweep_interval_s,
            prefixes=[
                (bucket, prefix)
                for bucket, _, prefix in (name.partition("/") for name in settings.sweep_prefixes)
            ],
        )
        committer = Committer(store)
        self._means = Means(
            settings=settings,
            store=store,
            parts=PartUploader(
                once,
                slots=AdaptiveSlots(settings.upload_concurrency, clock),
                clock=clock,
                attempts=settings.part_attempts,
            ),
            completer=Completer(store),
            committer=committer,
            budget=self.budget,
            clock=clock,
        )
        self._opener = ShardOpener(
            store,
            settings=settings,
            budget=self.budget,
            committer=committer,
            documents=Documents(store, facts),
            instance=self.instance,
        )

    async def upload_shard(
        self, request: OpenRequest, requests: AsyncIterator[Request], send: Send
    ) -> CommittedShard:
        """Stores one shard; events go to ``send``, the committed shard is returned, not sent.

        Raises:
            SimcloudError: as UploadShard's contract says.
        """
        await self.server_check.require(request.location)
        self.periodic_sweep.remember(request.location)
        looked = await self._opener.look(request)
        if isinstance(looked, CommittedShard):
            return looked
        async with self.live.hold(_key(request), request.writer) as live:
            opened = await self._opener.own(request, looked)
            if isinstance(opened, CommittedShard):
                return opened
            session = ShardSession(self._means, opened, requests=requests, send=send, live=live)
            return await session.run()

    async def publish(
        self, location: RunLocation, *, provenance_json: bytes
    ) -> tuple[RunSummary, bool]:
        """Publishes a run and sweeps what its shards left behind."""
        result = await self.runs.publish(location, provenance_json=provenance_json)
        self.periodic_sweep.remember(location)  # what is too young now goes by the next sweep
        with suppress(SimcloudError):  # the run is published all the same; the next sweep mends it
            await self._sweeper.sweep(location)
        return result

    async def abort(self, location: RunLocation, *, reason: str, purge: bool) -> Stopped:
        """Aborts a run; its streams in this process end at once, others at their next write.

        Raises:
            InvalidRequest: the reason is too long.
            NotFound: there is no such run; to purge, nor anything left of one.
        """
        if len(reason.encode()) > MAX_REASON_BYTES:
            raise InvalidRequest("reason", f"is at most {MAX_REASON_BYTES} bytes")
        stopped = await self._sweeper.abort_run(
            location, reason=reason, purge=False, leftovers=purge
        )
        ended = self.live.stop(
            RunIsAborted(f"{location} was aborted: {reason}"), lambda key: _is_of(key, location)
        )
        for stream in ended:
            await stream.closed.wait()
        if not purge:
            return stopped
        # After the streams of this process have ended: their last writes are deleted too.
        purged = await self._sweeper.abort_run(location, reason=reason, purge=True)
        return Stopped(
            shards=stopped.shards + purged.shards,
            uploads=stopped.uploads + purged.uploads,
            objects=purged.objects,
        )


@asynccontextmanager
async def open_uploader(
    settings: UploaderSettings,
    *,
    wrap: Callable[[S3Client], S3Client] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[Uploader]:
    """An uploader with its S3 client and its background sweep.

    Args:
        settings: the uploader's.
        wrap: put around the raw client: how tests inject faults.
        clock: as ``Uploader`` has it.
    """
    async with open_client(settings.s3) as client:
        wrapped = client if wrap is None else wrap(client)
        uploader = Uploader(wrapped, settings, clock=clock)
        async with uploader.periodic_sweep:
            yield uploader


def _key(request: OpenRequest) -> ShardKey:
    location = request.location
    return (location.bucket, location.prefix, location.run, request.frames.shard)


def _is_of(key: ShardKey, location: RunLocation) -> bool:
    return key[:3] == (location.bucket, location.prefix, location.run)
