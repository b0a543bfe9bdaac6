"""The whole path under compose: the main job, and a container killed in the midst of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import ROOT, Project, project

SERVERS = ("s3", "model-container", "uploader", "inference-router", "generator")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project(f"simcloud-test-{os.getpid()}", tmp_path_factory.mktemp("output")) as running:
        yield running


def test_every_container_is_confined(stack: Project) -> None:
    for name in SERVERS:
        container = stack.container(name)
        assert container["State"]["Health"]["Status"] == "healthy"
        assert container["Config"]["User"] == "10001:10001"
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name


@pytest.mark.timeout(420)
async def test_a_run_is_whole_though_its_uploader_is_killed(stack: Project) -> None:
    command = stack.command(
        "run",
        "scenes/showroom/spec.yaml",
        "--frames=4",
        "--frames-per-shard=1",
        "--name=killed",
        "--output=output",
    )
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, **stack.environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    lines: list[str] = []
    killed = False
    async for line in process.stdout:
        lines.append(line.decode())
        if not killed and "is stored" in lines[-1]:
            stack.kill("uploader")
            killed = True
    assert await process.wait() == 0, "".join(lines)
    assert killed
    assert stack.container("uploader")["RestartCount"] == 1
    assert "report:" in "".join(lines)
    shown = json.loads(
        stack.compose("run", "--rm", "-T", "cli", "runs", "show", "killed", "--json")
    )
    assert shown["planned_frames"] == shown["stored_frames"] == 4
    assert shown["quarantined_frames"] == 0
    assert shown["state"] == "published"
    stack.compose("run", "--rm", "-T", "cli", "verify", "killed", "--deep")


def test_the_report_is_ours_on_this_machine(stack: Project) -> None:
    output = Path(stack.environment["SIMCLOUD_OUTPUT"])
    assert (output / "report.html").stat().st_uid == os.getuid()


def test_services_stop_in_time_and_in_order(stack: Project) -> None:
    stack.compose("stop", "generator", "inference-router", "uploader", "model-container")
    for name in ("generator", "inference-router", "uploader", "model-container"):
        state = stack.container(name)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0), name
