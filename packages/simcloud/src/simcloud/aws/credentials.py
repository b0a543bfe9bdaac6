"""Whose credentials sign the requests: fixed ones, or the provider chain with its refresh."""

from __future__ import annotations

import asyncio
from typing import Protocol

from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aiobotocore.session import AioSession, get_session

from simcloud.aws.sigv4 import Credentials
from simcloud.clock import Clock
from simcloud.errors import Unauthenticated
from simcloud.telemetry.logging import get_logger

RENEW_EVERY_S = 10.0
"""Shortest time between two new look-ups because credentials were refused: an endpoint that refuses
good ones (a policy, a clock that is wrong) must not make every request ask the metadata service."""

_NONE_FOUND = (
    "there are no AWS credentials here: give the process a role (EKS Pod Identity, IRSA, instance "
    "profile), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
_NOT_HAD = "AWS credentials could not be had; the log of the process says why"

_log = get_logger(__name__)


class CredentialSource(Protocol):
    """Credentials, as they are now."""

    def known(self) -> Credentials | None:
        """What to sign with, when nothing need be looked up or refreshed; None: ask ``current``."""

    async def current(self) -> Credentials:
        """What to sign with.

        Raises:
            Unauthenticated: there are none, or they could not be refreshed.
        """

    async def renew(self, refused: Credentials) -> bool:
        """Forgets credentials that were refused, so that ``current`` looks anew.

        Args:
            refused: does nothing when others are current already.

        Returns:
            Whether ``current`` may give others; if not, asking again is in vain.
        """


class FixedCredentials:
    """Credentials from the settings; they can't be renewed."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def known(self) -> Credentials:
        """What the settings say."""
        return self._credentials

    async def current(self) -> Credentials:
        """What the settings say."""
        return self._credentials

    async def renew(self, refused: Credentials) -> bool:
        """There are no others."""
        return False


class ProviderChain:
    """aiobotocore's chain: environment, files, web identity, container, instance; refreshed there.

    One look-up runs at a time, however many requests wait for it. Credentials about to expire are
    refreshed by one request while the others sign with what there is.

    Args:
        clock: for ``RENEW_EVERY_S``.
        session: whose chain is asked first, so that its clients and this have the same credentials
            and refresh them once; None: one of its own.
    """

    def __init__(self, clock: Clock, *, session: AioSession | None = None) -> None:
        self._clock = clock
        self._session = session
        self._found: AioCredentials | None = None
        self._last: Credentials | None = None
        self._renewed_at = float("-inf")
        self._lock = asyncio.Lock()

    def known(self) -> Credentials | None:
        """The last ones, until the chain wants to refresh them."""
        found = self._found
        if isinstance(found, AioRefreshableCredentials) and found.refresh_needed():
            return None
        return self._last

    async def current(self) -> Credentials:
        """The chain's credentials, refreshed by it when they are about to expire."""
        try:
            found = self._found or await self._look_up()
            frozen = await found.get_frozen_credentials()
        except Unauthenticated:
            raise
        except Exception as exc:
            # Files, STS, metadata services: each raises what it likes, and says where it asked.
            _log.error("no AWS credentials", problem=f"{type(exc).__name__}: {exc}")
            raise Unauthenticated(_NOT_HAD) from exc
        key, secret, token = frozen.access_key, frozen.secret_key, frozen.token or ""
        if key is None or secret is None:
            raise Unauthenticated(_NONE_FOUND)
        last = self._last
        if last is not None and (
            last.access_key_id,
            last.secret_access_key,
            last.session_token,
        ) == (
            key,
            secret,
            token,
        ):
            return last
        now = Credentials(key, secret, token)
        # While they were fetched another request may have had them refused: what `renew` forgot is
        # not remembered again, or it would sign everything until it expires.
        if self._found is found:
            self._last = now
        return now

    async def renew(self, refused: Credentials) -> bool:
        """Looks again next time when ``refused`` is still what the chain gives."""
        if self._last != refused:
            return True
        now = self._clock.monotonic()
        if now - self._renewed_at < RENEW_EVERY_S:
            return False
        self._renewed_at = now
        self._found = None
        self._last = None
        return True

    async def _look_up(self) -> AioCredentials:
        async with self._lock:
            if self._found is None:
                # A session remembers what it found: looking anew takes a new one.
                session, self._session = self._session or get_session(), None
                self._found = await session.get_credentials()
            if self._found is None:
                raise Unauthenticated(_NONE_FOUND)
            return self._found
