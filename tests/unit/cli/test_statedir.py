"""The state folder knows a running stack from what a dead one left."""

from __future__ import annotations

from pathlib import Path

import pytest

from simcloud.errors import AlreadyExists, NotReady, PreconditionFailed
from simcloud_cli.statedir import StackInfo, StateDir

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
