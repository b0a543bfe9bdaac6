"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_MAX_LINES = 500
_SOURCES = sorted(
    path
    for folder in ("packages", "services", "model-container")
    for path in (_ROOT / folder).glob("**/src/**/*.py")
    if "simcloud/v1/" not in path.as_posix()
)


def _name(path: Path) -> str:
    return path.relative_to(_ROOT).as_posix()


def test_there_is_something_to_check() -> None:
    assert len(_SOURCES) > 20


@pytest.mark.parametrize("path", _SOURCES, ids=_name)
def test_no_file_is_longer_than_500_lines(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= _MAX_LINES, f"{_name(path)} has {lines} lines: split it by idea"


@pytest.mark.parametrize("path", _SOURCES, ids=_name)
def test_nothing_is_left_to_be_written_later(path: Path) -> None:
    for word in ("TODO", "FIXME", "TBD", "XXX"):
        assert word not in path.read_text().replace("XXXXXX", ""), word


@pytest.mark.parametrize(
    "path", [path for path in _SOURCES if "simcloud/concurrency/" not in path.as_posix()], ids=_name
)
def test_tasks_and_queues_are_made_in_concurrency_alone(path: Path) -> None:
    found = list(_loose_tasks(ast.parse(path.read_text())))
    assert not found, "\n".join(
        f"{_name(path)}:{line}: {call}: use a TaskGroup, simcloud.concurrency.open_channel or "
        "a BackgroundService"
        for line, call in found
    )


def test_the_rule_sees_what_it_forbids() -> None:
    code = """
async def f(loop, group):
    asyncio.create_task(g())
    create_task(g())
    loop.create_task(g())
    asyncio.get_running_loop().create_task(g())
    asyncio.ensure_future(g())
    await asyncio.gather(g())
    asyncio.Queue()
    Queue(3)
    group.create_task(g())
    pyarrow.gather()
"""
    assert sorted(line for line, _ in _loose_tasks(ast.parse(code))) == [3, 4, 5, 6, 7, 8, 9, 10]


_FORBIDDEN = {"create_task", "ensure_future", "gather", "Queue", "PriorityQueue", "LifoQueue"}


def _loose_tasks(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Tasks outside of a TaskGroup and queues without an end, by line."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in _FORBIDDEN:
                yield node.lineno, name
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if name in _FORBIDDEN:
                if owner == "asyncio" or "loop" in owner:
                    yield node.lineno, f"{owner}.{name}"
            case ast.Attribute(value=ast.Call(), attr="create_task"):
                yield node.lineno, "create_task"
