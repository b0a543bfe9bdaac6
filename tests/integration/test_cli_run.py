"""`simcloud run` from the outside: the embedded stack, a real scene, a real model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simcloud_cli.exit_codes import ExitCode
from support.eventually import eventually_sync
from support.small_showroom import write_small_spec


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small spec of the demo's scene; its state folder is kept between tests."""
    folder = tmp_path_factory.mktemp("cli")
    write_small_spec(folder)
    return folder


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "simcloud_cli", *arguments]


def _environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SIMCLOUD_")}
    return {**kept, "SIMCLOUD_CONFIG": str(folder / "config.yaml")}


def _simcloud(folder: Path, *arguments: str) -> tuple[int, Any, str]:
    """Exit code, JSON answer and standard error of a command."""
    result = subprocess.run(
        _command(*arguments, "--json"),
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    answer = json.loads(result.stdout) if result.stdout.strip() else None
    return result.returncode, answer, result.stderr


@pytest.mark.timeout(600)
def test_a_run_ends_complete_and_the_same_command_again_renders_nothing(workplace: Path) -> None:
    arguments = ("run", "small.yaml", "--frames", "4", "--frames-per-shard", "2")
    code, answer, errors = _simcloud(workplace, *arguments)
    assert code == ExitCode.COMPLETE, (answer, errors)
    assert answer["accounting"]["ok"]
    counts = answer["accounting"]
    assert (counts["planned"], counts["stored"], counts["scored"]) == (4, 4, 4)
    assert answer["generation"]["rendered_frames"] == 4
    assert answer["performance"]["cost"]["estimated"]
    report = workplace / answer["report"]
    assert "data:image/jpeg" in report.read_text()
    assert json.loads((report.parent / "metrics.json").read_text())["accounting"]["balanced"]
    assert (report.parent / "first.png").read_bytes()[:4] == b"\x89PNG"

    code, again, errors = _simcloud(workplace, *arguments)
    assert code == ExitCode.COMPLETE, (again, errors)
    assert again["run"] == answer["run"]
    assert again["generation"]["rendered_frames"] == 0
    assert again["metrics"] == answer["metrics"]

    code, verified, errors = _simcloud(workplace, "verify", answer["run"], "--deep")
    assert code == ExitCode.COMPLETE, (verified, errors)
    assert verified["bytes_checked"] >= answer["stored_bytes"]


@pytest.mark.timeout(300)
def test_a_part_of_a_run_is_no_failure_and_the_rest_completes_it(workplace: Path) -> None:
    run = ("run", "small.yaml", "--name", "parts", "--frames", "2", "--frames-per-shard", "1")
    code, first, errors = _simcloud(workplace, *run, "--shards", "1", "--no-score", "--no-preview")
    assert code == ExitCode.COMPLETE, (first, errors)
    assert not first["published"]
    assert first["missing_shards"] == [0]
    code, rest, errors = _simcloud(workplace, "resume", "parts", "--no-score")
    assert code == ExitCode.COMPLETE, (rest, errors)
    assert rest["published"]
    assert rest["generation"]["rendered_frames"] == 1


@pytest.mark.timeout(300)
def test_killing_the_command_leaves_no_process_behind(workplace: Path) -> None:
    process = subprocess.Popen(
        _command("--state-dir", "killed", "up", "--ephemeral", "--json"),
        cwd=workplace,
        env=_environment(workplace),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        answer = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        assert answer["router"]
        children = _descendants(process.pid)
        assert len(children) >= 5
        process.send_signal(signal.SIGKILL)
        process.wait()
    eventually_sync(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


@pytest.mark.timeout(300)
def test_ctrl_c_stops_the_stack_in_order_and_cleanly(workplace: Path) -> None:
    process = subprocess.Popen(
        _command("--state-dir", "stopped", "up", "--ephemeral", "--json"),
        cwd=workplace,
        env=_environment(workplace),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    "".join(iter(process.stdout.readline, "}\n"))
    children = _descendants(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == ExitCode.COMPLETE
    assert "stopped; the data stays" in errors
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert not (workplace / "stopped" / "stack.json").exists()


def _descendants(pid: int) -> list[int]:
    """Processes below one, by /proc."""
    found = []
    for entry in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in entry.read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found
