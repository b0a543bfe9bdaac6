"""What one frame may weigh, and when a renderer is replaced."""

from __future__ import annotations

import pytest

from simcloud.annotators import ANNOTATORS
from simcloud.spec.model import Spec
from simcloud_generator.frame import RECORD_BOUND_BYTES, Stopwatch, max_frame_bytes
from simcloud_generator.pool import Recycling


def spec(cameras: int, annotators: list[str]) -> Spec:
    return Spec.model_validate(
        {
            "scene": {"root": "stage.usda"},
            "annotators": annotators,
            "cameras": [
                {
                    "name": f"c{number}",
                    "width_px": 100,
                    "height_px": 50,
                    "placement": {"kind": "look_at", "eye": [0, -1, 0], "target": [0, 0, 0]},
                }
                for number in range(cameras)
            ],
        }
    )


def test_the_bound_of_a_frame_covers_every_layer_uncompressed() -> None:
    raw = {"rgb": 3, "distance_to_camera": 4, "normals": 12, "semantic_segmentation": 2}
    bound = max_frame_bytes(spec(2, list(raw)))
    assert bound >= 2 * (RECORD_BOUND_BYTES + 100 * 50 * sum(raw.values()))
    assert max_frame_bytes(spec(1, ["rgb"])) < bound


def test_rows_weigh_nothing_beside_the_record() -> None:
    rows = [name for name, row in ANNOTATORS.items() if not row.is_layer]
    assert max_frame_bytes(spec(1, rows)) == RECORD_BOUND_BYTES


@pytest.mark.parametrize(
    ("recycling", "frames", "rss", "due"),
    [
        (Recycling(frames=0, rss_bytes=0), 10**6, 10**12, False),
        (Recycling(frames=3, rss_bytes=0), 2, 10**12, False),
        (Recycling(frames=3, rss_bytes=0), 3, 0, True),
        (Recycling(frames=0, rss_bytes=100), 1, 100, False),
        (Recycling(frames=0, rss_bytes=100), 1, 101, True),
    ],
)
def test_a_worker_is_replaced_when_it_has_rendered_or_grown_enough(
    recycling: Recycling, frames: int, rss: int, due: bool
) -> None:
    assert recycling.is_due(frames, rss) is due


def test_a_stopwatch_adds_up_by_stage() -> None:
    watch = Stopwatch()
    watch.add("render", 1.0)
    watch.add("render", 0.5)
    with watch.stage("encode"):
        pass
    assert watch.seconds["render"] == 1.5
    assert watch.seconds["encode"] >= 0
