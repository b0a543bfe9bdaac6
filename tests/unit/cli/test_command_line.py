"""The command tree: every command says what it does and takes --json."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simcloud_cli.app import app
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.output import human_bytes

COMMANDS = [
    ["up"],
    ["run"],
    ["resume"],
    ["verify"],
    ["preview"],
    ["infer"],
    ["score"],
    ["report"],
    ["doctor"],
    ["runs", "list"],
    ["runs", "show"],
    ["runs", "abort"],
    ["runs", "delete"],
    ["router", "targets"],
    ["router", "stats"],
    ["router", "drain"],
    ["router", "undrain"],
    ["router", "weight"],
    ["router", "reload"],
    ["endpoint", "package"],
    ["endpoint", "deploy"],
    ["endpoint", "status"],
    ["endpoint", "test"],
    ["endpoint", "scale"],
    ["endpoint", "sleep"],
    ["endpoint", "wake"],
    ["endpoint", "delete"],
    ["context", "list"],
    ["context", "show"],
    ["context", "use"],
    ["context", "set"],
    ["context", "env"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_json(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--json" in result.output


def test_the_root_lists_the_exit_codes() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    for code in ExitCode:
        assert f"{code.value}: " in result.output


def test_contexts_are_kept_in_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMCLOUD_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.delenv("SIMCLOUD_CONTEXT", raising=False)
    runner = CliRunner()
    assert runner.invoke(app, ["context", "set", "eks", "generator=g:1"]).exit_code == 0
    assert runner.invoke(app, ["context", "use", "eks"]).exit_code == 0
    listed = json.loads(runner.invoke(app, ["context", "list", "--json"]).output)
    assert [(item["name"], item["current"]) for item in listed] == [
        ("eks", True),
        ("local", False),
    ]
    shown = json.loads(runner.invoke(app, ["context", "show", "--json"]).output)
    assert shown["generator"] == "g:1"


def test_importing_the_command_tree_loads_nothing_heavy() -> None:
    heavy = ["numpy", "pyarrow", "aiobotocore", "cv2", "pxr", "jinja2", "pydantic", "google"]
    code = f"import sys, simcloud_cli.app; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_an_error_is_one_line_and_a_code_and_json_when_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "simcloud_cli", "--context", "nowhere", "runs", "list"]
    environment = {"SIMCLOUD_CONFIG": str(tmp_path / "none.yaml"), "PATH": "/usr/bin"}
    plain = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert plain.returncode == ExitCode.USAGE
    assert plain.stdout == ""
    assert "there is no context 'nowhere'" in plain.stderr
    assert "Traceback" not in plain.stderr
    asked = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, env=environment, check=False
    )
    assert json.loads(asked.stdout)["error"]["reason"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_are_said_in_the_unit_that_suits_them(count: int, text: str) -> None:
    assert human_bytes(count) == text
