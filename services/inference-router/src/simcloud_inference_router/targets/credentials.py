"""Whose credentials sign the requests: fixed ones, or the provider chain with its refresh."""

from __future__ import annotations

import asyncio
from typing import Protocol

from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError

from simcloud.errors import Unauthenticated
from simcloud_inference_router.targets.sigv4 import Credentials

_NONE_FOUND = (
    "no AWS credentials were found: give the process a role (EKS Pod Identity, IRSA, instance "
    "profile), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)


class CredentialSource(Protocol):
    """Credentials, as they are now."""

    async def current(self) -> Credentials:
        """What to sign with.

        Raises:
            Unauthenticated: there are none, or they could not be refreshed.
        """

    async def renew(self, refused: Credentials) -> None:
        """Forgets credentials that were refused, so that ``current`` looks anew.

        Args:
            refused: does nothing when others are current already.
        """


class FixedCredentials:
    """Credentials from the settings; they can't be renewed."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def current(self) -> Credentials:
        """What the settings say."""
        return self._credentials

    async def renew(self, refused: Credentials) -> None:
        """Does nothing."""


class ProviderChain:
    """aiobotocore's chain: environment, files, web identity, container, instance; refreshed there.

    One lookup runs at a time, however many requests wait for it.
    """

    def __init__(self) -> None:
        self._session: AioSession | None = None
        self._last: Credentials | None = None
        self._lock = asyncio.Lock()

    async def current(self) -> Credentials:
        """The chain's credentials, refreshed by it when they are about to expire."""
        try:
            async with self._lock:
                if self._session is None:
                    self._session = get_session()
                found = await self._session.get_credentials()
                if found is None:
                    raise Unauthenticated(_NONE_FOUND)
                frozen = await found.get_frozen_credentials()
        except (BotoCoreError, OSError) as exc:
            message = f"AWS credentials could not be had: {exc}"
            raise Unauthenticated(message) from exc
        if frozen.access_key is None or frozen.secret_key is None:
            raise Unauthenticated(_NONE_FOUND)
        self._last = Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")
        return self._last

    async def renew(self, refused: Credentials) -> None:
        """Begins a new session when ``refused`` is still what the chain gives."""
        async with self._lock:
            if self._last == refused:
                self._session = None
                self._last = None
