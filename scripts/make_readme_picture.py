"""Makes `docs/images/showroom.jpg`: frames of a scored run with labels and detections drawn.

    .venv/bin/python scripts/make_readme_picture.py showroom-e79ffd68 --frames 0,8,16,24,32,40

The run is read from the context in force (`simcloud context list`), as `simcloud report` does.
Counted objects are green, ignored ones grey, what the model saw is red.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from simcloud.dataset.reader import Dataset
from simcloud.dataset.rundoc import newest_plan
from simcloud.errors import NotFound
from simcloud.report.overlays import Picture, decode, draw_match, jpeg
from simcloud.scoring.labels import PICTURE
from simcloud.scoring.matching import match_frame
from simcloud.scoring.stored_predictions import load_scored
from simcloud_cli.flow import stored_model
from simcloud_cli.session import Session, in_session
from simcloud_cli.state import options

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "showroom.jpg"
COLUMNS = 3
TILE_WIDTH_PX = 426
GAP_PX = 6


def main() -> int:
    """Reads the run and writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="name of a scored run")
    parser.add_argument("--frames", default="0,8,16,24,32,40", help="indexes, comma-separated")
    parser.add_argument("--model", default="nanodet-g")
    parser.add_argument("--state-dir", help="folder of the embedded stack")
    arguments = parser.parse_args()
    options.state_dir = arguments.state_dir
    frames = [int(text) for text in arguments.frames.split(",")]

    async def work(session: Session) -> list[Picture]:
        return await _drawn(session, arguments.run, arguments.model, frames)

    pictures = asyncio.run(in_session(frozenset(), work))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(jpeg(_sheet(pictures)))
    print(f"{TARGET}: {TARGET.stat().st_size / 1024:.0f} KiB")
    return 0


async def _drawn(session: Session, run: str, model: str, frames: Sequence[int]) -> list[Picture]:
    location = session.location(run)
    dataset = await Dataset.open(session.store, location)
    plan = await newest_plan(session.store, location)
    if plan is None:
        raise NotFound(f"{location} has no plan")
    key = await stored_model(session.store, location, model)
    scored = await load_scored(session.store, dataset, key, plan[1].counting)
    by_frame = {item.frame: item for item in scored}
    pictures = []
    for frame in frames:
        item = by_frame[frame]
        picture = decode(await dataset.layer(frame, item.camera, PICTURE))
        pictures.append(draw_match(picture, item.truths, match_frame(item)))
    return pictures


def _sheet(pictures: Sequence[Picture]) -> Picture:
    """(H, W, 3) uint8 BGR: the pictures scaled down, in rows, on white."""
    height, width = pictures[0].shape[:2]
    tile = (TILE_WIDTH_PX, round(height * TILE_WIDTH_PX / width))
    rows = -(-len(pictures) // COLUMNS)
    size = (rows * (tile[1] + GAP_PX) - GAP_PX, COLUMNS * (tile[0] + GAP_PX) - GAP_PX, 3)
    sheet = np.full(size, 255, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, COLUMNS)
        top, left = row * (tile[1] + GAP_PX), column * (tile[0] + GAP_PX)
        small = cv2.resize(picture, tile, interpolation=cv2.INTER_AREA)
        sheet[top : top + tile[1], left : left + tile[0]] = small
    return sheet


if __name__ == "__main__":
    sys.exit(main())
