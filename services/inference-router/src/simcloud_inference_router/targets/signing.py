"""Signed requests of a target, with its credentials looked up and renewed in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, TypeVar

from simcloud.aws.credentials import CredentialSource
from simcloud.aws.sigv4 import (
    HASH_IN_THREAD_BYTES,
    Credentials,
    SigV4Signer,
    hash_body,
    sha256_hex,
)
from simcloud.clock import Clock
from simcloud.errors import Unauthenticated
from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.errors import out_of_time

OutcomeT = TypeVar("OutcomeT")
SendSigned: TypeAlias = Callable[[Mapping[str, str], float], Awaitable[OutcomeT | Failure]]
"""Sends a request once: its headers with the signature, and seconds until the deadline."""


class RequestSigner:
    """Signs POSTs to one path.

    Args:
        name: the target's, for messages.
        path: where to.
        region: region that is signed for.
        credentials: whose requests these are.
        clock: time for the signature and for deadlines.
    """

    def __init__(
        self, *, name: str, path: str, region: str, credentials: CredentialSource, clock: Clock
    ) -> None:
        self._name = name
        self._path = path
        self._credentials = credentials
        self._signer = SigV4Signer(region=region, service="sagemaker")
        self._clock = clock

    def signed_at_once(
        self, headers: Mapping[str, str], body: bytes
    ) -> tuple[dict[str, str], Credentials] | None:
        """Headers with the signature, and whose it is, when that takes no waiting.

        Returns:
            None: credentials must be looked up, or the body is one to be hashed in a thread.
        """
        used = self._credentials.known()
        if used is None or len(body) >= HASH_IN_THREAD_BYTES:
            return None
        return {**headers, **self._sign(headers, sha256_hex(body), used)}, used

    async def renewed(self, used: Credentials) -> bool:
        """Whether others may be had than those that were refused."""
        return await self._credentials.renew(used)

    async def send(
        self,
        headers: Mapping[str, str],
        body: bytes,
        *,
        deadline: float,
        post: SendSigned[OutcomeT],
        renews: bool = True,
    ) -> OutcomeT | Failure:
        """Signs and sends; once more when the credentials were refused and others may be had.

        Args:
            headers: all others, names lower case, ``host`` among them.
            body: what ``post`` sends.
            deadline: latest moment on the clock for credentials to be there.
            post: sends it, exactly once a call.
            renews: whether to send once more; False: that was done already.
        """
        body_sha256 = await hash_body(body)
        used = await self._current(deadline)
        if isinstance(used, Failure):
            return used
        outcome = await self._once(headers, body_sha256, used, deadline, post)
        if (
            not renews
            or not isinstance(outcome, Failure)
            or not outcome.refresh
            or not await self._credentials.renew(used)
        ):
            return outcome
        used = await self._current(deadline)
        if isinstance(used, Failure):
            return used
        return await self._once(headers, body_sha256, used, deadline, post)

    async def _current(self, deadline: float) -> Credentials | Failure:
        credentials = self._credentials.known()
        if credentials is not None:
            return credentials
        try:
            async with asyncio.timeout(deadline - self._clock.monotonic()):
                return await self._credentials.current()
        except Unauthenticated as exc:
            return Failure(exc)
        except TimeoutError:
            return out_of_time(self._name)

    async def _once(
        self,
        headers: Mapping[str, str],
        body_sha256: str,
        credentials: Credentials,
        deadline: float,
        post: SendSigned[OutcomeT],
    ) -> OutcomeT | Failure:
        left_s = deadline - self._clock.monotonic()
        if left_s <= 0:
            return out_of_time(self._name)
        signature = self._sign(headers, body_sha256, credentials)
        return await post({**headers, **signature}, left_s)

    def _sign(
        self, headers: Mapping[str, str], body_sha256: str, credentials: Credentials
    ) -> dict[str, str]:
        return self._signer.sign(
            credentials=credentials,
            method="POST",
            path=self._path,
            headers=headers,
            body_sha256=body_sha256,
            now_s=self._clock.time(),
        )
