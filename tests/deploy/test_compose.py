"""docker-compose.yml and the Dockerfiles, read; tests/docker runs them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from simcloud_cli.context import ENV_PREFIX
from simcloud_model_container.settings import read_settings
from support.setting_names import SERVICES, VARIABLES, drain_s, prefix_of

ROOT = Path(__file__).parents[2]
DOCKERFILES = {
    "generator": "services/generator/Dockerfile",
    "uploader": "services/uploader/Dockerfile",
    "inference-router": "services/inference-router/Dockerfile",
    "model-container": "model-container/Dockerfile",
    "cli": "packages/simcloud-cli/Dockerfile",
    "s3": "deploy/images/s3.Dockerfile",
}
GRPC_PORTS = {"generator": 50051, "uploader": 50052, "inference-router": 50053}
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(:-[^}]*)?\}")


def compose() -> dict[str, Any]:
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return cast("dict[str, Any]", content)


def service(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", compose()["services"][name])


def dockerfile(name: str) -> str:
    return (ROOT / DOCKERFILES[name]).read_text(encoding="utf-8")


def environment_of(text: str) -> dict[str, str]:
    """Variables of a Dockerfile's last stage."""
    return dict(re.findall(r"\b(SIMCLOUD_[A-Z0-9_]+)=(\S+)", text))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_image_of_ours_is_built_from_the_folder_of_its_name(name: str) -> None:
    found = service(name)
    assert found["build"]["dockerfile"] == DOCKERFILES[name]
    assert (ROOT / DOCKERFILES[name]).is_file()
    assert found["image"] == "${SIMCLOUD_IMAGE_PREFIX}" + name + ":${SIMCLOUD_IMAGE_TAG}"
    assert f'image.title="simcloud-{name}"' in dockerfile(name)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_is_pinned_hashed_and_runs_as_nobody_in_particular(name: str) -> None:
    text = dockerfile(name)
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert stages == ["${BASE_IMAGE}", "${BASE_IMAGE}"]
    assert "ARG BASE_IMAGE=python:3.11-slim-bookworm" in text
    # A frontend that must be pulled can't be where there is no registry.
    assert "# syntax=" not in text
    pins = re.findall(r"/install pins (\S+)", text)
    assert pins
    for pin in pins:
        content = (ROOT / "requirements" / f"{pin}.txt").read_text(encoding="utf-8")
        assert "--hash=sha256:" in content
        assert not re.search(r"^\S+(?<!\\)$(?!\n    --hash)", content, re.MULTILINE)
    assert "USER 10001:10001" in text
    assert re.search(r'^ENTRYPOINT \["', text, re.MULTILINE), "shells don't pass signals on"
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in text


@pytest.mark.parametrize("name", sorted(DOCKERFILES.keys() - {"cli"}))
def test_every_server_says_how_it_is(name: str) -> None:
    text = dockerfile(name)
    assert "HEALTHCHECK" in text
    if name in GRPC_PORTS:
        assert f'"simcloud.rpc.healthcheck", "127.0.0.1:{GRPC_PORTS[name]}"' in text


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_container_may_do_as_little_as_possible(name: str) -> None:
    found = service(name)
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["mem_limit"]
    assert "privileged" not in found


def test_ports_are_those_of_this_machine_alone() -> None:
    for name, found in compose()["services"].items():
        for port in found.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_every_variable_has_its_value_in_the_env_file() -> None:
    known = set(re.findall(r"^([A-Z0-9_]+)=", (ROOT / ".env").read_text(), re.MULTILINE))
    text = "".join(
        line
        for line in (ROOT / "docker-compose.yml").read_text().splitlines(keepends=True)
        if not line.startswith("#")
    )
    used = _VARIABLE.findall(text)
    assert {name for name, default in used if not default} <= known


@pytest.mark.parametrize("name", SERVICES)
def test_every_variable_of_a_service_is_a_setting_of_it(name: str) -> None:
    named = {**environment_of(dockerfile(name)), **service(name)["environment"]}
    ours = [variable for variable in named if variable.startswith("SIMCLOUD_")]
    assert ours
    assert set(ours) <= VARIABLES[prefix_of(name)]


def test_every_variable_of_the_model_container_is_a_setting_of_it() -> None:
    read_settings(dict.fromkeys(service("model-container")["environment"], "x"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_longer_to_stop_than_it_drains(name: str) -> None:
    grace = int(service(name)["stop_grace_period"].removesuffix("s"))
    assert grace > drain_s(name)


def test_the_command_finds_the_services_where_they_listen() -> None:
    environment = service("cli")["environment"]
    for name, port in GRPC_PORTS.items():
        field = name.removeprefix("inference-").upper()
        assert environment[f"SIMCLOUD_CONTEXT_{field}"] == f"{name}:{port}"
    named = {variable for variable in environment if variable.startswith(ENV_PREFIX)}
    assert named <= VARIABLES[ENV_PREFIX]


def test_prometheus_asks_every_service_where_it_listens() -> None:
    content = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yaml").read_text())
    targets = content["scrape_configs"][0]["static_configs"][0]["targets"]
    assert sorted(targets) == sorted(f"{name}:9090" for name in GRPC_PORTS)
    for name in GRPC_PORTS:
        assert "METRICS_LISTEN=0.0.0.0:9090" in dockerfile(name)
