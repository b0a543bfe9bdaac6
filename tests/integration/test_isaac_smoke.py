"""`make isaac-smoke`, on the stand-in: what it says, and what its exit code means."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from simcloud_generator.backends.isaac import smoke
from support.isaac import isaac_installed, small_spec
from support.recorded_api import uninstall
from support.replicator_fake import running
from support.scenes import furnished_stage


@pytest.fixture(autouse=True)
def _quick_and_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setenv("SIMCLOUD_GENERATOR_ISAAC__SETTLE_UPDATES", "1")
    monkeypatch.setenv("SIMCLOUD_GENERATOR_ISAAC__WARMUP_STEPS", "2")
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    uninstall()
    running.clear()


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    furnished_stage(tmp_path)
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(small_spec().model_dump(mode="json")))
    return path


def run(spec: Path) -> int:
    return smoke.main([str(spec), "--frames", "2", "--width", "64", "--height", "48"])


def test_smoke_check_passes_where_isaac_gives_the_cpus_labels(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with isaac_installed(tmp_path):
        assert run(spec) == smoke.OK
    said = capsys.readouterr().out
    assert "FAIL" not in said
    for line in (
        "ok   rt_cores_0    NVIDIA L40S has RT cores",
        "ok   start         Isaac Sim 6.0.1-rc.7, the recorded API",
        "ok   test_frame    a box, rendered",
        "ok   instance mask, equal pixels",
        "ok   camera, focal length, relative error",
        "ok   own 3D boxes, volume, relative error",
        "ok   picture, same frame twice, mean difference",
    ):
        assert line in said, said
    assert running[-1].closed


def test_smoke_check_fails_where_labels_do_not_arrive(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with isaac_installed(tmp_path, faults="unlabelled"):
        assert run(spec) == smoke.DIFFERENT
    assert "FAIL test_frame" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gpus", "version", "said"),
    [
        (["0, NVIDIA H100 80GB HBM3, 580.95.05, 81559"], "6.0.1", "has no RT cores"),
        (["0, NVIDIA L4, 575.57.08, 23034"], "6.0.1", "is one that Isaac Sim refuses"),
        (["0, NVIDIA L4, 580.95.05, 23034"], "5.1.0", "this backend knows 6.0, 6.2"),
    ],
)
def test_smoke_check_says_why_isaac_cannot_run(
    gpus: list[str],
    version: str,
    said: str,
    spec: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with isaac_installed(tmp_path, gpus=gpus, version=version):
        assert run(spec) == smoke.CANNOT_RUN
    assert said in capsys.readouterr().out
