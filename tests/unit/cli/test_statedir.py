"""The state folder knows a running stack from what a dead one left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simcloud.errors import AlreadyExists, NotReady, PreconditionFailed
from simcloud_cli.statedir import StackHeld, StackInfo, StateDir
from simcloud_cli.turns import Turn

INFO = StackInfo(
    pid=1,
    generator="127.0.0.1:1",
    uploader="127.0.0.1:2",
    router="127.0.0.1:3",
    s3_endpoint="http://127.0.0.1:4",
    model_endpoint="http://127.0.0.1:5",
    bucket="simcloud",
    access_key="a",
    secret_key="b",
)


def test_a_stack_runs_exactly_as_long_as_its_folder_is_held(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    assert state.running() is None
    state.prepare(min_free_bytes=1)
    with state.hold():
        with pytest.raises(NotReady, match="starting or stopping"):
            state.running()
        state.announce(INFO)
        assert state.running() == INFO
        assert (state.path / "stack.json").stat().st_mode & 0o077 == 0
        with pytest.raises(AlreadyExists, match="already running"), StateDir(state.path).hold():
            pass
        assert state.running() == INFO
    assert state.running() is None
    assert not (state.path / "stack.json").exists()


def test_who_holds_a_folder_is_said_as_long_as_it_is_held(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with state.hold(serves=True):
        holder = StateDir(tmp_path).holder()
        assert holder is not None
        assert (holder.pid, holder.serves) == (os.getpid(), True)
        with pytest.raises(NotReady, match=f"process {os.getpid()}, `simcloud"):
            state.running()
    assert state.holder() is None


def test_a_shared_stack_is_used_until_its_user_is_gone_and_then_no_more(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with state.share() as none:
        assert none is None
    with state.hold():
        with state.share() as starting:
            assert starting is None
        state.announce(INFO)
        with StateDir(tmp_path).share() as info, StateDir(tmp_path).share() as other:
            assert info == other == INFO
            state.forget()
            assert state.is_used()
            with StateDir(tmp_path).share() as late:
                assert late is None
        assert not state.is_used()
    with StateDir(tmp_path / "absent").share() as none:
        assert none is None


async def test_a_turn_is_waited_for_and_said_once_but_not_for_a_stack_that_serves(
    tmp_path: Path,
) -> None:
    state, said = StateDir(tmp_path), list[str]()
    turn = Turn(state, said.append)
    with state.hold():
        for _ in range(2):
            await turn.wait(StackHeld("held"))
        assert len(said) == 1
        assert f"process {os.getpid()}" in said[0]
    with state.hold(serves=True), pytest.raises(StackHeld):
        await turn.wait(StackHeld("held"))


def test_what_a_killed_process_left_is_not_a_running_stack(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.prepare(min_free_bytes=1)
    state.announce(INFO)
    (state.path / "lock").touch()
    (state.ports / "uploader.json").write_text("{}")
    assert state.running() is None
    with state.hold():
        assert not (state.path / "stack.json").exists()
        assert not (state.ports / "uploader.json").exists()


def test_too_little_space_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(PreconditionFailed, match="MiB free"):
        StateDir(tmp_path).prepare(min_free_bytes=1 << 60)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PreconditionFailed, match="can't be made"):
        StateDir(tmp_path / "file" / "state").prepare(min_free_bytes=1)
