from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials

from simcloud.aws.credentials import RENEW_EVERY_S, ProviderChain
from simcloud.aws.sigv4 import Credentials
from simcloud.errors import Unauthenticated
from support.clock import ManualClock


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


async def test_the_chain_is_looked_up_once_and_the_same_object_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    chain = ProviderChain(ManualClock())
    first = await chain.current()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "two")
    assert await chain.current() is first
    assert first == Credentials("one", "secret")


async def test_refused_credentials_are_looked_up_anew_but_not_at_every_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    clock = ManualClock()
    chain = ProviderChain(clock)
    first = await chain.current()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "two")
    assert await chain.renew(first)
    second = await chain.current()
    assert second.access_key_id == "two"
    # Someone else's request was refused with the old ones: there are others already.
    assert await chain.renew(first)
    assert await chain.current() is second
    assert not await chain.renew(second)
    clock.advance(RENEW_EVERY_S)
    assert await chain.renew(second)


async def test_no_credentials_and_a_broken_provider_are_unauthenticated_without_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unauthenticated, match="give the process a role"):
        await ProviderChain(ManualClock()).current()
    (tmp_path / "config").write_text("[default]\ncredential_process = /nowhere/at-all\n")
    with pytest.raises(Unauthenticated) as caught:
        await ProviderChain(ManualClock()).current()
    assert "/nowhere" not in caught.value.message


class Slow(AioCredentials):
    """Credentials that wait to be read until they may."""

    def __init__(self) -> None:
        super().__init__("old", "secret")
        self.asked, self.may = asyncio.Event(), asyncio.Event()

    # aiobotocore's own override is a coroutine; its parent's types say otherwise.
    async def get_frozen_credentials(self) -> ReadOnlyCredentials:  # type: ignore[override]
        self.asked.set()
        await self.may.wait()
        return await super().get_frozen_credentials()


class Finds(AioSession):
    """A session whose chain ends at once."""

    def __init__(self, found: AioCredentials) -> None:
        super().__init__()
        self._there = found

    async def get_credentials(self) -> AioCredentials:  # type: ignore[override]  # as above
        return self._there


async def test_what_was_refused_while_it_was_read_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "new")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    slow = Slow()
    chain = ProviderChain(ManualClock(), session=Finds(slow))
    slow.may.set()
    old = await chain.current()
    slow.asked.clear()
    slow.may.clear()
    # Read once more, as before each refresh, while another request is refused with them.
    reading = asyncio.ensure_future(chain.current())
    await slow.asked.wait()
    assert await chain.renew(old)
    slow.may.set()
    assert (await reading).access_key_id == "old"
    assert chain.known() is None
    assert (await chain.current()).access_key_id == "new"
