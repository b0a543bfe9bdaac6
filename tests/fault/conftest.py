"""What fault tests share: a real S3 server, a bucket of their own, a client."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from simcloud.s3.objects import ObjectStore, open_store
from support.s3_server import S3Server, running_s3_server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One SeaweedFS for all tests that leave it running; start your own to kill it."""
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
async def store(s3_server: S3Server) -> AsyncIterator[ObjectStore]:
    """A client of the server."""
    async with open_store(s3_server.settings) as opened:
        yield opened


@pytest.fixture
async def bucket(store: ObjectStore) -> str:
    """A fresh bucket."""
    name = f"test-{secrets.token_hex(6)}"
    await store.ensure_bucket(name)
    return name
