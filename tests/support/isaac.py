"""An environment in which the Isaac backend finds the stand-in in place of Isaac Sim."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from simcloud.spec.model import Spec
from simcloud_generator.backends.isaac.application import start
from simcloud_generator.backends.isaac.backend import IsaacBackend
from simcloud_generator.backends.isaac.settings import IsaacSettings
from support.recorded_api import uninstall
from support.replicator_fake import FAULTS, Kit, running

SITE = Path(__file__).parent / "isaac_site"

QUICK = IsaacSettings(settle_updates=2, warmup_steps=2, rt_subframes=4, step_timeout_s=60.0)
"""Isaac's settings where nothing has to settle."""

L40S = ("0, NVIDIA L40S, 580.95.05, 46068", "1, NVIDIA L40S, 580.95.05, 46068")
"""Two cards as nvidia-smi lists them."""


@contextmanager
def isaac_installed(
    folder: Path, *, faults: str = "", version: str = "6.0.1-rc.7", gpus: Sequence[str] = L40S
) -> Iterator[None]:
    """Isaac Sim as far as this process and its children can tell.

    Args:
        folder: for what an installation has on disk.
        faults: of the stand-in, by commas.
        version: that it says it is.
        gpus: what nvidia-smi lists.
    """
    (folder / "VERSION").write_text(version)
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    smi = tools / "nvidia-smi"
    smi.write_text("\n".join(["#!/bin/sh", *(f"echo '{line}'" for line in gpus)]))
    smi.chmod(0o755)
    environment = {
        "EXP_PATH": str(folder),
        "CARB_APP_PATH": str(folder),
        "ISAAC_PATH": str(folder),
        "ACCEPT_EULA": "Y",
        "HOME": str(folder),
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        FAULTS: faults,
    }
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "path", [str(SITE), *sys.path]),
        mock.patch.object(sys, "argv", ["generator", "--port", "50051"]),
    ):
        yield


@contextmanager
def isaac_backend(
    folder: Path, settings: IsaacSettings = QUICK, *, faults: str = ""
) -> Iterator[tuple[IsaacBackend, Kit]]:
    """The backend on the stand-in, in this process; signals and modules are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with isaac_installed(folder, faults=faults):
            yield IsaacBackend(start(settings, 0), settings), running[-1]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        uninstall()
        running.clear()


def small_spec() -> Spec:
    """Two cans on the floor of the furnished stage, seen small."""
    return Spec.model_validate(
        {
            "seed": 3,
            "scene": {"root": "stage.usda"},
            "annotators": ["rgb", "instance_segmentation", "bounding_box_2d_tight"],
            "cameras": [
                {
                    "name": "main",
                    "width_px": 32,
                    "height_px": 24,
                    "placement": {
                        "kind": "look_at",
                        "eye": [0, -4, 2.5],
                        "target": [0, 0, 0.3],
                    },
                }
            ],
            "randomization": {
                "region": {"x_m": [-2, 2], "y_m": [-2, 2]},
                "objects": [
                    {
                        "name": "cans",
                        "count": 2,
                        "assets": "can",
                        "placement": {
                            "kind": "scatter",
                            "x_m": {"uniform": [-1, 1]},
                            "y_m": {"uniform": [-1, 1]},
                        },
                    }
                ],
            },
        }
    )
