"""The report is one file, says what was counted and shows nothing that a run didn't give."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from simcloud.accounting.prices import prices
from simcloud.errors import Corruption, NotFound
from simcloud.report.choose import best, caption, worst
from simcloud.report.costs import estimate
from simcloud.report.howto import DataLocation, recipes
from simcloud.report.overlays import data_uri, decode, draw_match, jpeg
from simcloud.report.page import (
    Accounting,
    Performance,
    PictureCard,
    ReportData,
    StageTime,
    render,
)
from simcloud.scoring.matching import match_frame
from simcloud.scoring.metrics import evaluate
from simcloud.scoring.types import Box, Detection, ScoredFrame, Truth

BOX: Box = (4.0, 4.0, 40.0, 30.0)


def _frame(index: int, *, found: bool, objects: int = 1, visible_px: int = 900) -> ScoredFrame:
    boxes = [(BOX[0] + 50 * n, BOX[1], BOX[2] + 50 * n, BOX[3]) for n in range(objects)]
    return ScoredFrame(
        frame=index,
        camera="main",
        split="train",
        params={},
        truths=tuple(
            Truth(
                label="couch",
                box=box,
                counted=True,
                name="c",
                visible_px=visible_px,
                occlusion=0.0,
            )
            for box in boxes
        ),
        detections=tuple(
            Detection(label="couch", class_id=57, score=0.9, box=box) for box in boxes if found
        ),
    )


def _data(*, accounting: Accounting, run: str = "demo") -> ReportData:
    frames = [_frame(0, found=True), _frame(1, found=False)]
    where = DataLocation(
        bucket="data",
        run_prefix="runs/demo",
        endpoint_url="http://127.0.0.1:8333",
        region="us-east-1",
        path_style=True,
        last_shard=2,
    )
    return ReportData(
        run=run,
        uri=where.uri,
        model="nanodet-g@abc",
        created="2026-11-21T10:00:00Z",
        accounting=accounting,
        metrics=evaluate(frames, ["couch"]),
        slices=(),
        performance=Performance(
            images_per_s=0.5,
            wall_s=96.0,
            bytes_stored=50_000_000,
            bytes_per_frame=1_000_000.0,
            idle_share=0.04,
            cpu_s=180.0,
            stages=(StageTime("render", 90.0, 1.9),),
            score_images_per_s=30.0,
            cost=estimate(cpu_s=180.0, images=48),
        ),
        best=(
            PictureCard(title="frame 0", caption="1 found", data_uri="data:image/jpeg;base64,AA"),
        ),
        worst=(),
        provenance={"spec digest": "ab" * 32},
        recipes=recipes(where, predictions="nanodet-g@abc"),
    )


def test_a_report_is_one_file_that_loads_nothing_else() -> None:
    page = render(_data(accounting=Accounting(planned=2, stored=2, quarantined=0, scored=2)))
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "<script" not in page
    assert "scored = stored." in page
    assert "estimated" in page


def test_counts_that_do_not_add_up_are_said() -> None:
    page = render(_data(accounting=Accounting(planned=3, stored=2, quarantined=0, scored=2)))
    assert "this run is incomplete" in page


def test_names_are_escaped() -> None:
    accounting = Accounting(planned=2, stored=2, quarantined=0, scored=2)
    assert "<b>x</b>" not in render(_data(accounting=accounting, run="<b>x</b>"))


def test_the_estimate_is_cpu_seconds_at_the_table_s_price() -> None:
    cost = estimate(cpu_s=48 * 3.6, images=48, instance="c7i.xlarge")
    assert cost is not None
    # 3.6 CPU-s an image: 1,000 images are one vCPU-hour, a quarter of the instance's hour
    assert cost.usd_per_1k_images == pytest.approx(prices()["c7i.xlarge"].usd_per_hour / 4)
    assert cost.as_json()["estimated"] is True
    assert estimate(cpu_s=0, images=48) is None
    with pytest.raises(NotFound, match="no price for 'x9'"):
        estimate(cpu_s=1, images=1, instance="x9")


def test_every_price_says_when_and_where_it_was_read() -> None:
    for price in prices().values():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", price.read)
        assert price.source
        assert price.usd_per_hour > 0


def test_recipes_name_the_endpoint_and_every_shard() -> None:
    text = "\n".join(
        item.text
        for item in _data(
            accounting=Accounting(planned=2, stored=2, quarantined=0, scored=2)
        ).recipes
    )
    assert "--endpoint-url http://127.0.0.1:8333" in text
    assert "{000000..000002}.tar" in text
    assert "ENDPOINT '127.0.0.1:8333'" in text
    assert "USE_SSL false" in text


def test_an_overlay_changes_the_picture_and_is_scaled_down() -> None:
    done, png = cv2.imencode(".png", np.full((60, 120, 3), 90, dtype=np.uint8))
    assert done
    picture = decode(bytes(png))
    frame = _frame(0, found=True)
    drawn = draw_match(picture, frame.truths, match_frame(frame))
    assert drawn.shape == (300, 600, 3), "words beside boxes of 120 px would hide everything"
    assert (drawn != 90).any()
    assert (picture == 90).all()
    small = decode(jpeg(drawn, max_width_px=60))
    assert small.shape == (30, 60, 3)
    assert data_uri(jpeg(drawn)).startswith("data:image/jpeg;base64,/9j/")


def test_bytes_that_are_no_picture_are_corruption() -> None:
    with pytest.raises(Corruption, match="can't be decoded"):
        decode(b"not a picture")


def test_the_worst_is_the_largest_miss_and_the_best_the_fullest_hit() -> None:
    frames = [
        _frame(0, found=True),
        _frame(1, found=False, visible_px=900),
        _frame(2, found=False, visible_px=5000),
        _frame(3, found=True, objects=3),
    ]
    matches = [match_frame(frame) for frame in frames]
    assert worst(frames, matches, 2) == [2, 1]
    assert best(frames, matches, 3) == [3, 0]
    assert caption(matches[2]) == "0 found; missed couch"
