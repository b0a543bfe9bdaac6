"""deploy/slurm on a real SLURM of one node: an array, a task of which is requeued in its midst."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from simcloud.dataset.layout import RunLocation
from simcloud.s3.objects import ObjectStore
from support.eventually import eventually
from support.s3_server import S3Server
from support.small_showroom import write_small_spec

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """Variables that SLURM's commands need."""
    if not (shutil.which("slurmctld") and shutil.which("munged") and os.getuid() == 0):
        pytest.skip("needs root and Debian's slurm-wlm and munge")
    # Sockets' paths must be short.
    folder = tempfile.mkdtemp(prefix="slurm-", dir="/tmp")
    node = str(ROOT / "scripts" / "slurm-node")
    started = subprocess.run([node, "start", folder], capture_output=True, text=True, check=False)
    try:
        assert started.returncode == 0, started.stderr
        yield {"SLURM_CONF": started.stdout.strip()}
    finally:
        subprocess.run([node, "stop", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def run(*command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.timeout(600)
async def test_an_array_with_a_requeued_task_makes_a_whole_run(
    slurm: dict[str, str],
    s3_server: S3Server,
    store: ObjectStore,
    bucket: str,
    tmp_path: Path,
) -> None:
    location = RunLocation(bucket=bucket, prefix="", run="array")
    settings = s3_server.settings
    environment = {
        **slurm,
        "SIMCLOUD_PYTHON": sys.executable,
        "SIMCLOUD_BUCKET": bucket,
        "SIMCLOUD_S3_ENDPOINT_URL": settings.endpoint_url,
        "SIMCLOUD_CACHE": str(tmp_path / "cache"),
        "AWS_REGION": settings.region,
        "AWS_ACCESS_KEY_ID": settings.access_key_id,
        "AWS_SECRET_ACCESS_KEY": settings.secret_access_key.get_secret_value(),
    }
    waiting = await asyncio.create_subprocess_exec(
        *("sbatch", "--wait", "--parsable", "--array=0-1", "--cpus-per-task=1", "--mem=4G"),
        f"--output={tmp_path}/log-%a",
        str(ROOT / "deploy" / "slurm" / "run.sbatch"),
        str(write_small_spec(tmp_path)),
        *(f"--name={location.run}", "--frames=4", "--frames-per-shard=1", "--shards-per-task=2"),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    assert waiting.stdout is not None
    job = (await waiting.stdout.readline()).decode().strip()
    logs = [tmp_path / "log-0", tmp_path / "log-1"]
    await eventually(
        lambda: logs[0].exists() and "is stored" in logs[0].read_text(),
        within_s=300,
        what="the first task's first shard",
    )
    run("scontrol", "requeue", f"{job}_0", environment=environment)
    told = await waiting.wait(), "".join(log.read_text() for log in logs)
    assert told[0] == 0, told[1]
    assert "Restarts=1" in run("scontrol", "-o", "show", "job", f"{job}_0", environment=environment)
    keys = [item.key async for item in store.list_keys(bucket, location.root)]
    assert sum(key.endswith(".tar") for key in keys) == 4, told[1]
    assert sum("/manifests/" in key for key in keys) == 1, told[1]
