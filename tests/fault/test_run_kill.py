"""One run, killed in every part it has, goes on each time and ends whole.

Everything is real and a process of its own: the command, SeaweedFS, the model container and the
three services. Each launch of the command gets a kill -9 of another part in the middle of its work.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from simcloud.dataset.layout import RunLocation
from simcloud.s3.client import S3Settings
from simcloud.s3.objects import ObjectStore, open_store
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.seaweed import REGION
from support.eventually import eventually
from support.generating import SCENE

FRAMES, FRAMES_PER_SHARD = 24, 3
LOCATION = RunLocation(bucket="simcloud", prefix="", run="killed")
WITHIN_S = 120.0
MODULES = {
    "generator": "simcloud_generator",
    "uploader": "simcloud_uploader",
    "inference-router": "simcloud_inference_router",
    "model container": "simcloud_model_container",
}


@dataclass
class Stack:
    """The command and its children, started again and again on one state folder."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SIMCLOUD_CONFIG": str(self.folder / "config.yaml"),
            # A dead writer is noticed after two seconds rather than thirty.
            "SIMCLOUD_UPLOADER_STALE_AFTER_S": "2",
            "SIMCLOUD_GENERATOR_CONCURRENT_SHARDS": "1",
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "simcloud_cli", "--state-dir", str(self.state), *command],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str) -> tuple[int, str]:
        process = self.start(*command)
        output, _ = process.communicate(timeout=WITHIN_S)
        return process.returncode, output

    def store_settings(self, pid: int) -> S3Settings | None:
        """Where the S3 of one launch listens; None while it doesn't run."""
        try:
            info = json.loads((self.state / "stack.json").read_text())
        except (OSError, ValueError):
            return None
        if info["pid"] != pid:  # of a launch that was killed
            return None
        return S3Settings.model_validate(
            {
                "endpoint_url": info["s3_endpoint"],
                "region": REGION,
                "access_key_id": info["access_key"],
                "secret_access_key": info["secret_key"],
                "path_style": True,
            }
        )


def children_of(pid: int) -> dict[str, int]:
    """The stack's processes by name: children of the command, told by what they execute."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if int(status[1]) != pid:
            continue
        for name, module in MODULES.items():
            if module in words:
                found[name] = int(entry.name)
        if "mini" in words:
            found["s3"] = int(entry.name)
    return found


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    raw = yaml.safe_load((SCENE / "spec.yaml").read_text())
    raw["cameras"][0] |= {"width_px": 160, "height_px": 120}
    raw["scene"]["root"] = str(SCENE / "stage.usda")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(raw))
    (tmp_path / "coco_labels.yaml").write_text((SCENE / "coco_labels.yaml").read_text())
    return Stack(tmp_path)


class Watch:
    """What S3 holds of one kind, looked at again and again: nothing committed ever changes."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.seen: dict[str, str] = {}

    async def more(self, store: ObjectStore, than: int) -> bool:
        """Whether more objects are there than a number."""
        now = {
            item.key: item.etag
            async for item in store.list_keys(LOCATION.bucket, LOCATION.key(self._prefix))
            if item.key.endswith((".tar", ".parquet"))
        }
        assert self.seen.items() <= now.items()
        self.seen = now
        return len(now) > than


async def kill_when_more(
    stack: Stack, process: subprocess.Popen[str], victim: str, watch: Watch
) -> tuple[int, str]:
    """Kills a part, or the command itself, as soon as there is more; how the command ended."""
    known = len(watch.seen)

    def grown() -> Awaitable[bool]:
        return watch.more(store, known)

    try:
        settings = await eventually(
            lambda: stack.store_settings(process.pid), within_s=WITHIN_S, what="the stack is up"
        )
        assert settings is not None
        # One client for all looks: a look that took as long as a shard would come too late.
        async with open_store(settings) as store:
            await eventually(grown, within_s=WITHIN_S)
            assert process.poll() is None, "it had ended before anything could be killed"
            pid = process.pid if victim == "driver" else children_of(process.pid)[victim]
            os.kill(pid, signal.SIGKILL)
        output, _ = await asyncio.to_thread(process.communicate, timeout=WITHIN_S)
    finally:
        process.kill()
    return process.returncode, output


@pytest.mark.timeout(900)
async def test_a_run_survives_the_death_of_every_part_one_after_the_other(stack: Stack) -> None:
    indexes, predictions = Watch("index/"), Watch("predictions/")
    command: tuple[str, ...] = ("run", "spec.yaml", "--name", LOCATION.run, "--no-preview")
    command += ("--frames", str(FRAMES), "--frames-per-shard", str(FRAMES_PER_SHARD))
    for victim, watch in (
        ("generator", indexes),
        ("uploader", indexes),
        ("s3", indexes),
        ("driver", indexes),
        ("inference-router", predictions),
        ("model container", predictions),
    ):
        code, output = await kill_when_more(stack, stack.start(*command), victim, watch)
        if victim == "driver":
            assert code == -signal.SIGKILL
        else:
            assert code == ExitCode.UNREACHABLE, output
            assert victim in output, output
        command = ("resume", LOCATION.run)

    code, output = await asyncio.to_thread(stack.run, *command)
    assert code == ExitCode.COMPLETE, output
    code, output = await asyncio.to_thread(stack.run, "verify", LOCATION.run, "--deep", "--json")
    assert code == ExitCode.COMPLETE, output
    report = json.loads(output[output.index("{") :])
    assert report["planned"] == report["stored"] == FRAMES
    assert report["quarantined"] == 0
    assert report["problems"] == []
