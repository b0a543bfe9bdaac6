"""What all tests share: markers by folder, one S3 server, no sockets in unit tests, no leaks."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_socket
from hypothesis import HealthCheck, settings

from simcloud.s3.objects import ObjectStore, open_store
from support.gauges import assert_nothing_held
from support.model_server import ModelServer
from support.router_site import router_process
from support.s3_server import S3Server, running_s3_server
from support.told import told_lines

_TESTS = Path(__file__).parent
_FOLDERS = ("unit", "integration", "fault", "conformance", "deploy", "e2e")

# A busy machine breaks no property: by default hypothesis fails an example that takes 200 ms. And a
# run that changed nothing tries what the last one tried; --hypothesis-profile=default draws anew.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


def _folder_of(path: Path) -> str:
    parts = path.relative_to(_TESTS).parts if path.is_relative_to(_TESTS) else ()
    return parts[0] if parts and parts[0] in _FOLDERS else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = _folder_of(item.path)
        if folder:
            item.add_marker(getattr(pytest.mark, folder))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for line in told_lines(terminalreporter.stats.get(outcome, [])):
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _no_sockets_in_unit_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    if _folder_of(request.node.path) != "unit":
        yield
        return
    # An event loop wakes itself through a pair of Unix sockets.
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


@pytest.fixture(autouse=True)
def _nothing_held_after_integration_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if _folder_of(request.node.path) in {"integration", "fault"}:
        assert_nothing_held()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One SeaweedFS for all tests that leave it running; start your own to kill it."""
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def router_address(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One router as a process, in front of the real model container; it may read `pictures` alone.

    For callers that are told where it is. Start your own to count, or to break it.
    """
    folder = tmp_path_factory.mktemp("router")
    with (
        ModelServer(environment={"LOG_LEVEL": "warning"}) as model,
        router_process(folder, model, s3=s3_server.settings, allowed_buckets="pictures") as address,
    ):
        yield address


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
