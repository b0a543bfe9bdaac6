"""Commands started at once in one state folder all do their work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from simcloud_cli.exit_codes import ExitCode


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SIMCLOUD_")}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "simcloud_cli", "--state-dir", str(folder / "state")),
            *arguments,
            "--json",
        ],
        cwd=folder,
        env={**kept, "SIMCLOUD_CONFIG": str(folder / "config.yaml")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_one_starts_the_stack_and_the_others_use_it_or_wait_for_their_turn(tmp_path: Path) -> None:
    # The first two need the same services. The third needs S3 alone: if it is the first to start,
    # the others have to wait until it has ended.
    commands = [
        start(tmp_path, "runs", "list"),
        start(tmp_path, "runs", "list"),
        start(tmp_path, "verify", "no-such-run"),
    ]
    answers = [(*command.communicate(timeout=100), command.returncode) for command in commands]
    for answer, errors, code in answers[:2]:
        assert code == ExitCode.COMPLETE, errors
        assert json.loads(answer) == []
    answer, errors, code = answers[2]
    assert code == ExitCode.USAGE, errors
    assert "no-such-run" in answer + errors
    assert not (tmp_path / "state" / "stack.json").exists()
