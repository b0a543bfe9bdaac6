"""What all calls of a store share: the raw client, the owner a bucket must have, the retries."""

from __future__ import annotations

import asyncio
import random
from typing import NotRequired, TypedDict

from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.s3.client import S3Client
from simcloud.s3.retrying import Retrier, RetryPolicy, Sleep


class _Owner(TypedDict):
    ExpectedBucketOwner: NotRequired[str]


class Calls:
    """S3 at one endpoint, as each kind of calls on it needs it.

    Args:
        client: the raw client.
        expected_bucket_owner: AWS account that must own every bucket; empty: any.
        retry: how often and how fast to try again.
        clock: tells the retry budget's time.
        sleep: waits, in seconds.
        rng: source of the jitter.
    """

    def __init__(
        self,
        client: S3Client,
        *,
        expected_bucket_owner: str = "",
        retry: RetryPolicy | None = None,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._client = client
        self._owner: _Owner = {}
        if expected_bucket_owner:
            self._owner = {"ExpectedBucketOwner": expected_bucket_owner}
        self._retrier = Retrier(retry or RetryPolicy(), clock=clock, sleep=sleep, rng=rng)

    @property
    def retries(self) -> int:
        """Retries made so far."""
        return self._retrier.retries

    @property
    def client(self) -> S3Client:
        """The raw client, for what is not here."""
        return self._client
