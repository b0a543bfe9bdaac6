"""Signed requests of a target, with its credentials looked up and renewed in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, TypeVar

from simcloud.aws.credentials import CredentialSource
from simcloud.aws.sigv4 import Credentials, SigV4Signer, hash_body
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

    async def send(
        self,
        headers: Mapping[str, str],
        body: bytes,
        *,
        deadline: float,
        post: SendSigned[OutcomeT],
    ) -> OutcomeT | Failure:
        """Signs and sends; once more when the credentials were refused and others may be had.

        Args:
            headers: all others, names lower case, ``host`` among them.
            body: what ``post`` sends.
            deadline: latest moment on the clock for credentials to be there.
            post: sends it, exactly once a call.
        """
        body_sha256 = await hash_body(body)
        used = await self._current(deadline)
        if isinstance(used, Failure):
            return used
        outcome = await self._once(headers, body_sha256, used, deadline, post)
        if (
            not isinstance(outcome, Failure)
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
        signature = self._signer.sign(
            credentials=credentials,
            method="POST",
            path=self._path,
            headers=headers,
            body_sha256=body_sha256,
            now_s=self._clock.time(),
        )
        return await post({**headers, **signature}, left_s)
