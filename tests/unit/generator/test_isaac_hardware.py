"""What is asked of a machine before Isaac Sim is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from simcloud.errors import PreconditionFailed
from simcloud.gpu import Gpu, has_rt_cores, parse_gpus
from simcloud_generator.backends.isaac.application import (
    check_environment,
    check_version,
    launch_config,
)
from simcloud_generator.backends.isaac.hardware import check_hardware, must_pass
from simcloud_generator.backends.isaac.settings import IsaacSettings


@pytest.mark.parametrize(
    ("name", "able"),
    [
        ("NVIDIA L40S", True),
        ("NVIDIA A10G", True),
        ("Tesla T4", True),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", True),
        ("NVIDIA GeForce RTX 5090", True),
        ("NVIDIA H200", False),
        ("NVIDIA A100-SXM4-80GB", False),
        ("NVIDIA H100 80GB HBM3", False),
        ("NVIDIA GH200 480GB", False),
        ("NVIDIA B200", False),
        ("Tesla V100-SXM2-16GB", False),
        ("NVIDIA Something New", None),
    ],
)
def test_rt_cores_are_known_by_the_gpus_name(name: str, able: bool | None) -> None:
    assert has_rt_cores(name) is able


def test_rows_of_nvidia_smi_are_read_and_noise_is_left_out() -> None:
    text = "0, NVIDIA L4, 580.95.05, 23034\nwarning: something\n1, NVIDIA GB10, 580.1, [N/A]\n"
    assert parse_gpus(text) == [
        Gpu(0, "NVIDIA L4", "580.95.05", 23034),
        Gpu(1, "NVIDIA GB10", "580.1", 0),
    ]


@pytest.mark.parametrize(
    ("driver", "ok"),
    [
        ("580.95.05", True),
        ("570.169", True),
        ("575.64.03", True),
        ("570.158.01", False),
        ("575.57.08", False),
        ("550.163.01", False),
    ],
)
def test_drivers_below_the_floor_and_in_blocked_ranges_are_refused(
    driver: str, ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIN_DRIVER_VERSION", raising=False)
    checks = check_hardware(IsaacSettings(), [Gpu(0, "NVIDIA L4", driver, 23034)])
    found = {check.name: check.ok for check in checks}
    assert found["driver_0"] is ok
    assert bool(must_pass(checks)) is not ok


def test_little_memory_and_closed_caches_are_told_but_stop_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".cache").write_text("a file where a folder should be")
    monkeypatch.setenv("HOME", str(tmp_path))
    checks = check_hardware(IsaacSettings(), [Gpu(0, "Tesla T4", "580.95.05", 8192)])
    failed = {check.name: check.detail for check in checks if not check.ok}
    assert set(failed) == {"memory_0", "caches"}
    assert "uid 1234" in failed["caches"]
    assert must_pass(checks) == []


def test_every_missing_variable_is_named_the_licence_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("EXP_PATH", "CARB_APP_PATH", "ISAAC_PATH", "ACCEPT_EULA", "OMNI_KIT_ACCEPT_EULA"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PreconditionFailed) as caught:
        check_environment()
    assert [item.subject for item in caught.value.violations] == [
        "EXP_PATH",
        "CARB_APP_PATH",
        "ISAAC_PATH",
        "ACCEPT_EULA",
    ]


@pytest.mark.parametrize("version", ["5.1.0", "6.3.0.0", ""])
def test_versions_that_were_not_read_are_refused(
    version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "VERSION").write_text(version)
    monkeypatch.setenv("ISAAC_PATH", str(tmp_path))
    with pytest.raises(PreconditionFailed, match=r"isaac\.versions"):
        check_version(IsaacSettings())
    assert check_version(IsaacSettings(version="6.2.0.0")) == "6.2.0.0"


def test_one_gpu_a_process_and_nothing_that_shows_a_window() -> None:
    config = launch_config(IsaacSettings(texture_streaming=True, max_bounces=6), 3)
    assert config["active_gpu"] == config["physics_gpu"] == 3
    assert config["max_gpu_count"] == 1
    assert config["multi_gpu"] is False
    assert config["headless"] is config["disable_viewport_updates"] is True
    assert config["extra_args"] == []
    assert config["max_bounces"] == 6
