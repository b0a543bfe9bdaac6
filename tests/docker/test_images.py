"""Each image by itself: what is in it, who it runs as, how it ends and how it refuses."""

from __future__ import annotations

import json

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HealthcheckWaitStrategy

from support.containers import docker, image

IMAGES = ("generator", "uploader", "inference-router", "model-container", "cli", "s3")
LARGEST_MB = {
    "generator": 1700,
    "uploader": 550,
    "inference-router": 550,
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
