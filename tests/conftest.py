"""What all tests share: markers by folder, no sockets in unit tests, nothing held at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket

from support.gauges import assert_nothing_held

_TESTS = Path(__file__).parent
_FOLDERS = ("unit", "integration", "fault", "conformance", "deploy", "e2e")


def _folder_of(path: Path) -> str:
    parts = path.relative_to(_TESTS).parts if path.is_relative_to(_TESTS) else ()
    return parts[0] if parts and parts[0] in _FOLDERS else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = _folder_of(item.path)
        if folder:
            item.add_marker(getattr(pytest.mark, folder))


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
