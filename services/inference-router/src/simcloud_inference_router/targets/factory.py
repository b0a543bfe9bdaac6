"""Targets by the catalogue's words, over pools and credentials that they share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from simcloud.aws.credentials import CredentialSource, FixedCredentials, ProviderChain
from simcloud.aws.sigv4 import Credentials
from simcloud.clock import Clock
from simcloud.s3.client import S3Client
from simcloud.s3.objects import ObjectStore
from simcloud_inference_router.settings import RouterSettings, SageMakerSettings
from simcloud_inference_router.target_entry import TargetEntry
from simcloud_inference_router.targets.addressing import base_url
from simcloud_inference_router.targets.async_endpoint import AsyncTarget
from simcloud_inference_router.targets.base import Target
from simcloud_inference_router.targets.container import ContainerTarget
from simcloud_inference_router.targets.response_stream import ResponseStreamTarget
from simcloud_inference_router.targets.sagemaker import SageMakerTarget
from simcloud_inference_router.targets.stream_pool import StreamPool, open_stream_pool
from simcloud_inference_router.targets.target_pool import TargetPool, open_target_pool


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFactory:
    """Makes targets; from ``open_factory``, which also closes what they share."""

    settings: RouterSettings
    pool: TargetPool
    streams: StreamPool
    store: ObjectStore
    credentials: CredentialSource
    clock: Clock

    def make(self, entry: TargetEntry) -> Target:
        """The target of a catalogue's entry."""
        if entry.kind == "container":
            return ContainerTarget(entry, pool=self.pool)
        region = entry.region or self.settings.region
        url = base_url(entry, region=region, override=self.settings.sagemaker_endpoint_url)
        if entry.kind == "sagemaker_async":
            return AsyncTarget(
                entry,
                base_url=url,
                region=region,
                pool=self.pool,
                store=self.store,
                credentials=self.credentials,
                clock=self.clock,
                # Jitter needs no secrecy.
                random=Random(),  # noqa: S311
                max_answer_bytes=self.settings.answer_limit,
            )
        if entry.kind == "sagemaker_stream":
            return ResponseStreamTarget(
                entry,
                base_url=url,
                region=region,
                streams=self.streams,
                credentials=self.credentials,
                clock=self.clock,
                max_answer_bytes=self.settings.answer_limit,
            )
        return SageMakerTarget(
            entry,
            base_url=url,
            region=region,
            pool=self.pool,
            credentials=self.credentials,
            clock=self.clock,
        )


@asynccontextmanager
async def open_factory(
    settings: RouterSettings, *, s3: S3Client, clock: Clock
) -> AsyncIterator[TargetFactory]:
    """A factory with its pools open; they are closed on exit.

    Args:
        settings: of the process.
        s3: where asynchronous endpoints are asked and answer.
        clock: the process's.
    """
    async with (
        open_target_pool(
            connect_timeout_s=settings.connect_timeout_s,
            keepalive_s=settings.keepalive_idle_s,
            max_answer_bytes=settings.answer_limit,
        ) as pool,
        open_stream_pool(
            connect_timeout_s=settings.connect_timeout_s, keepalive_s=settings.keepalive_idle_s
        ) as streams,
    ):
        yield TargetFactory(
            settings=settings,
            pool=pool,
            streams=streams,
            store=ObjectStore(s3, expected_bucket_owner=settings.s3.expected_bucket_owner),
            credentials=credentials_of(settings.sagemaker, clock),
            clock=clock,
        )


def credentials_of(settings: SageMakerSettings, clock: Clock) -> CredentialSource:
    """Those of the settings, or the provider chain's."""
    if not settings.access_key_id:
        return ProviderChain(clock)
    return FixedCredentials(
        Credentials(
            access_key_id=settings.access_key_id,
            secret_access_key=settings.secret_access_key.get_secret_value(),
            session_token=settings.session_token.get_secret_value(),
        )
    )
