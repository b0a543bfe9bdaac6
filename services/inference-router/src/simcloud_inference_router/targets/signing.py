"""Signs the requests of a target, with its credentials looked up and renewed in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from simcloud.clock import Clock
from simcloud.errors import Unauthenticated
from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.credentials import CredentialSource
from simcloud_inference_router.targets.errors import out_of_time
from simcloud_inference_router.targets.sagemaker import HASH_IN_THREAD_BYTES
from simcloud_inference_router.targets.sigv4 import Credentials, SigV4Signer, sha256_hex


@dataclass(frozen=True, slots=True)
class Signed:
    """Headers that may be sent, and whose they are."""

    headers: Mapping[str, str]
    credentials: Credentials
    left_s: float
    """Seconds until the deadline, more than 0."""


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
        self._signer = SigV4Signer(region=region)
        self._clock = clock

    async def sign(
        self, headers: Mapping[str, str], body: bytes, *, deadline: float
    ) -> Signed | Failure:
        """The request's headers with its signature.

        Args:
            headers: all others, names lower case, ``host`` among them.
            body: what will be sent.
            deadline: latest moment on the clock for credentials to be there.
        """
        credentials = self._credentials.known()
        if credentials is None:
            try:
                async with asyncio.timeout(deadline - self._clock.monotonic()):
                    credentials = await self._credentials.current()
            except Unauthenticated as exc:
                return Failure(exc)
            except TimeoutError:
                return out_of_time(self._name)
        if len(body) < HASH_IN_THREAD_BYTES:
            body_sha256 = sha256_hex(body)
        else:
            body_sha256 = await asyncio.to_thread(sha256_hex, body)
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
        return Signed({**headers, **signature}, credentials, left_s)

    async def renew(self, refused: Credentials) -> bool:
        """Forgets credentials that were refused; whether signing again may help."""
        return await self._credentials.renew(refused)
