"""One kernel draws every frame of a scene: nothing is compiled once the first frames are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from simcloud.scene.catalog import read_catalog
from simcloud.spec.model import Spec
from simcloud.spec.sample import sample
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.backends.mitsuba.variant import usable

SCENE = Path(__file__).parents[2] / "scenes" / "showroom"
WARM_UP = range(2)
FRAMES = range(2, 8)


@pytest.mark.skipif(usable("llvm_ad_rgb") is not None, reason="only LLVM compiles kernels")
def test_no_frame_after_warm_up_compiles_a_kernel() -> None:
    raw = yaml.safe_load((SCENE / "spec.yaml").read_text())
    raw["cameras"][0] |= {"width_px": 48, "height_px": 32}
    spec = Spec.model_validate(raw)
    catalog = read_catalog(SCENE / "stage.usda")
    backend = MitsubaBackend(MitsubaSettings(variant="llvm_ad_rgb", threads=1))
    session = backend.open(SCENE / "stage.usda")
    import drjit

    for frame in WARM_UP:
        session.render(sample(spec, catalog, frame), ["rgb"])
    drjit.set_flag(drjit.JitFlag.KernelHistory, True)
    try:
        drjit.kernel_history_clear()
        for frame in FRAMES:
            session.render(sample(spec, catalog, frame), ["rgb"])
        history = drjit.kernel_history()
    finally:
        drjit.set_flag(drjit.JitFlag.KernelHistory, False)
    session.close()
    assert history
    assert [entry["hash"] for entry in history if not entry.get("cache_hit", True)] == []
