"""`simcloud infer` on mixed inputs: the router as a process, the real models, S3, real videos."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from simcloud.errors import InvalidRequest
from simcloud.s3.objects import open_store
from simcloud_cli.app import app
from simcloud_cli.context import Config, Context, save_config
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.inferflow import IN_FLIGHT
from simcloud_cli.inferinputs import each_input
from simcloud_cli.inferoutput import InferOutput, Seen
from support.s3_server import S3Server

SHOWROOM = Path(__file__).parents[2] / "docs" / "images" / "showroom.jpg"
CLASSIFIER = ("--model", "efficientnet-lite0", "--top-k", "2")
BUCKET = "pictures"  # which the router may read


@dataclass(frozen=True, slots=True)
class Answered:
    """What a command did."""

    code: int
    rows: list[dict[str, Any]]
    stderr: str

    def row(self, name: str) -> dict[str, Any]:
        (found,) = [row for row in self.rows if row["name"].endswith(name)]
        return found


Infer = Callable[..., Answered]


@pytest.fixture
def infer(
    router_address: str, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Infer:
    """`simcloud infer ... --json` in an empty folder, against the router and S3."""
    context = Context(router=router_address, s3=s3_server.settings)
    save_config(Config(current="test", contexts={"test": context}), tmp_path / "config.yaml")
    monkeypatch.setenv("SIMCLOUD_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Answered:
        result = CliRunner().invoke(app, ["infer", *arguments, "--json"])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answered(result.exit_code, json.loads(result.stdout), result.stderr)

    return run


def picture(shade: int = 120) -> npt.NDArray[np.uint8]:
    pixels = np.full((48, 64, 3), shade, np.uint8)
    pixels[10:30, 10:30] = (200, 30, 60)
    return pixels


def put_picture(path: Path, shade: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(shade))
    return path


def put_video(path: Path, *, frames: int = 30, codec: str = "mp4v") -> Path:
    """Ten frames a second; each darker than the one before it."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(picture(240 - 6 * index))
    writer.release()
    return path


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def shade_of(row: dict[str, Any]) -> float:
    drawn = cv2.imread(row["drawn"])
    assert drawn is not None
    return float(drawn[-40:, -40:].mean())


@pytest.fixture
async def stored(s3_server: S3Server) -> None:
    data = cv2.imencode(".png", picture())[1].tobytes()
    async with open_store(s3_server.settings) as store:
        await store.ensure_bucket(BUCKET)
        await store.ensure_bucket("secrets")
        for key in ("shop/a.png", "shop/b.png", "shop/notes.txt", "shop/c.mp4", "shop2/d.png"):
            await store.put(BUCKET, key, data)
        await store.put("secrets", "a.png", data)


def test_the_showrooms_furniture_is_found_and_drawn(infer: Infer) -> None:
    answered = infer(str(SHOWROOM), "-o", "out")
    assert answered.code == ExitCode.COMPLETE, answered.stderr
    (row,) = answered.rows
    assert {"chair", "couch", "tv", "bed"} & {item["label"] for item in row["detections"]}
    original, drawn = cv2.imread(str(SHOWROOM)), cv2.imread(row["drawn"])
    assert original is not None
    assert drawn is not None
    left, top, right, _ = (round(value) for value in row["detections"][0]["box_xyxy_px"])
    edge = drawn[max(0, top), left + 20 : right - 20].astype(int)
    assert (edge[:, 2] - edge[:, 0]).mean() > 80, "the box's upper edge is red"
    assert json.loads(Path("out/detections.json").read_text()) == answered.rows


def test_files_folders_patterns_and_videos_go_on_one_line(infer: Infer, tmp_path: Path) -> None:
    put_picture(tmp_path / "one.png")
    put_picture(tmp_path / "shelf" / "b.jpg")
    put_picture(tmp_path / "shelf" / "deep" / "c.png")
    put_picture(tmp_path / "x1.png")
    put_picture(tmp_path / "x[1].png")
    (tmp_path / "x1.txt").write_text("no picture")
    put_video(tmp_path / "clip.mp4")
    answered = infer("one.png", "shelf", "x1.*", "x[1].png", "clip.mp4", *CLASSIFIER)
    assert answered.code == ExitCode.COMPLETE, answered.stderr
    clip = ["clip.mp4#0", "clip.mp4#10", "clip.mp4#20"]
    names = ["one.png", "shelf/b.jpg", "shelf/deep/c.png", "x1.png", "x[1].png", *clip]
    assert [row["name"] for row in answered.rows] == names
    assert all(len(row["classifications"]) == 2 for row in answered.rows)
    assert all(Path(row["drawn"]).is_file() for row in answered.rows)
    assert [row["time_s"] for row in answered.rows[-3:]] == pytest.approx([0.0, 1.0, 2.0])
    assert answered.rows[0]["time_s"] is None


@pytest.mark.parametrize(
    ("name", "codec", "options", "frames"),
    [
        ("a.mov", "mp4v", ("--every", "12"), [0, 12, 24]),
        ("a.avi", "MJPG", ("--fps", "2.5", "--limit", "5"), [0, 4, 8, 12, 16]),
        ("a.mkv", "MJPG", ("--fps", "100", "--limit", "3"), [0, 1, 2]),
        ("a.webm", "VP80", ("--every", "20"), [0, 20]),
    ],
)
def test_a_videos_frames_are_taken_by_number_or_by_time(
    infer: Infer, tmp_path: Path, name: str, codec: str, options: tuple[str, ...], frames: list[int]
) -> None:
    put_video(tmp_path / name, codec=codec)
    answered = infer(name, *options, *CLASSIFIER)
    assert [row["frame"] for row in answered.rows] == frames
    assert [row["name"] for row in answered.rows] == [f"{name}#{index}" for index in frames]
    assert [row["time_s"] for row in answered.rows] == pytest.approx([n / 10 for n in frames])
    shades = [shade_of(row) for row in answered.rows]
    assert shades == pytest.approx([240 - 6 * index for index in frames], abs=6)


def test_what_cant_be_read_is_one_error_each_and_the_others_go_on(
    infer: Infer, tmp_path: Path
) -> None:
    put_picture(tmp_path / "good.png")
    (tmp_path / "words.png").write_text("these are words")
    (tmp_path / "none.mp4").write_text("this is no video" * 100)
    cut(put_video(tmp_path / "cut.mp4"), 0.5)
    cut(put_video(tmp_path / "cut.avi", codec="MJPG"), 0.5)
    names = ("words.png", "none.mp4", "cut.mp4", "cut.avi", "good.png")
    answered = infer(*names, "--every", "5", *CLASSIFIER)
    assert answered.code == ExitCode.INCOMPLETE
    assert "neither PNG nor JPEG" in answered.row("words.png")["message"]
    for name in ("none.mp4", "cut.mp4"):
        assert "can't be read as a video" in answered.row(name)["message"]
    ended = answered.row("cut.avi")
    assert (ended["code"], ended["reason"]) == (3, "INVALID_REQUEST")
    assert "ends after" in ended["message"]
    assert "of 3.00 s" in ended["message"]
    assert answered.row("cut.avi#5")["code"] == 0
    assert answered.row("good.png")["code"] == 0
    assert [row["name"].partition("#")[0] for row in answered.rows] == [
        *names[:3],
        *["cut.avi"] * (len(answered.rows) - 4),
        "good.png",
    ]
    assert not answered.stderr, "the decoder's own words are not shown"


def test_one_bad_input_alone_is_that_error(infer: Infer, tmp_path: Path) -> None:
    cut(put_video(tmp_path / "cut.mp4"), 0.5)
    answered = infer("cut.mp4")
    assert answered.code == ExitCode.USAGE
    assert "can't be read as a video" in answered.stderr
    assert len(answered.rows) == 1


@pytest.mark.usefixtures("stored")
def test_prefixes_and_keys_are_read_by_the_router_and_refusals_are_explained(
    infer: Infer, tmp_path: Path
) -> None:
    put_picture(tmp_path / "here.png")
    uris = ("s3://pictures/shop/", "s3://pictures/shop/b.png", "s3://secrets/", "s3://pictures/no/")
    answered = infer(*uris, "here.png", *CLASSIFIER)
    assert answered.code == ExitCode.INCOMPLETE
    seen = [row["name"] for row in answered.rows if row["code"] == 0]
    shop = ["s3://pictures/shop/a.png", "s3://pictures/shop/b.png"]
    assert seen == [*shop, shop[1], "here.png"]
    assert all(Path(row["drawn"]).is_file() for row in answered.rows if row["code"] == 0)
    refused = answered.row("s3://secrets/a.png")
    assert refused["reason"] == "PERMISSION_DENIED"
    assert "SIMCLOUD_INFERENCE_ROUTER_ALLOWED_BUCKETS" in refused["message"]
    assert "download it first" in answered.row("c.mp4")["message"]
    assert "no key that begins so" in answered.row("s3://pictures/no/")["message"]


def test_a_turned_photographs_boxes_are_drawn_on_the_pixels_that_were_sent(
    infer: Infer, tmp_path: Path
) -> None:
    plain = SHOWROOM.read_bytes()
    # An APP1 segment with one EXIF entry: orientation 6, a quarter turn.
    exif = bytes.fromhex("4578696600004d4d002a0000000800010112000300000001000600000000" + "0000")
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "turned.jpg").write_bytes(plain[:2] + segment + plain[2:])
    turned = cv2.imread(str(tmp_path / "turned.jpg"))
    original = cv2.imread(str(SHOWROOM))
    assert turned is not None
    assert original is not None
    assert turned.shape[:2] == original.shape[1::-1], "readers do turn it"
    answered = infer("turned.jpg", *CLASSIFIER)
    drawn = cv2.imread(answered.rows[0]["drawn"])
    assert drawn is not None
    assert drawn.shape == original.shape


def test_no_more_pictures_are_read_than_have_room(
    infer: Infer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_video(tmp_path / "long.avi", frames=30, codec="MJPG")
    read = told = peak = 0
    add = InferOutput.add

    async def counted(*arguments: Any) -> Any:
        nonlocal read, peak
        async for item in each_input(*arguments):
            read += 1
            peak = max(peak, read - told)
            yield item

    def counting(output: InferOutput, seen: Seen) -> None:
        nonlocal told
        told += 1
        add(output, seen)

    monkeypatch.setattr("simcloud_cli.inferflow.each_input", counted)
    monkeypatch.setattr(InferOutput, "add", counting)
    answered = infer("long.avi", "--every", "1", *CLASSIFIER)
    assert len(answered.rows) == read == told == 30
    assert 1 < peak <= IN_FLIGHT


def test_an_output_that_is_a_file_is_refused_in_one_line(infer: Infer, tmp_path: Path) -> None:
    photo = put_picture(tmp_path / "photo.jpg")
    for output in ("photo.jpg", "photo.jpg/in/it"):
        with pytest.raises(InvalidRequest, match=r"--output: .*photo\.jpg.* is a file"):
            infer(str(photo), "-o", output)


def test_names_that_mean_nothing_are_refused_before_anything_starts(
    infer: Infer, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for argument, says in (
        ("gone.png", "no such file or folder"),
        ("empty", "holds none"),
        ("*.png", "has such a name"),
        ("s3://", "expected s3://bucket"),
    ):
        with pytest.raises(InvalidRequest, match=says):
            infer(argument)
    with pytest.raises(InvalidRequest, match="one of the two"):
        infer("empty", "--every", "2", "--fps", "1")
