"""The blocking client: against the router as a process and the real model container."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from simcloud import SyncRouterClient
from simcloud.client.pictures import PictureLike
from simcloud.dataset.frames import FrameRef
from simcloud.errors import Cancelled, InvalidRequest, NotFound, NotReady, PermissionDenied

MODEL = "efficientnet-lite0"
OTHER_MODEL = "nanodet-g"


@pytest.fixture
def router(router_address: str) -> Iterator[SyncRouterClient]:
    with SyncRouterClient(router_address) as client:
        yield client


def pixels(width: int, height: int = 32) -> npt.NDArray[np.uint8]:
    picture = np.full((height, width, 3), 120, np.uint8)
    picture[4:20, 4:20] = (200, 30, 60)
    return picture


def png(width: int) -> bytes:
    return cv2.imencode(".png", pixels(width))[1].tobytes()


def width_of(body: bytes) -> int:
    width: int = json.loads(body)["image"]["width"]
    return width


def test_bytes_a_path_and_pixels_are_one_picture(router: SyncRouterClient, tmp_path: Path) -> None:
    # RGB pixels are what OpenCV's writer takes with the channels swapped.
    data = cv2.imencode(".png", pixels(48)[:, :, ::-1])[1].tobytes()
    (tmp_path / "a.png").write_bytes(data)
    given: list[PictureLike] = [data, tmp_path / "a.png", str(tmp_path / "a.png"), pixels(48)]
    answers = [router.infer(item, model=MODEL, parameters={"top_k": "3"}) for item in given]
    assert len(json.loads(answers[0].body)["classifications"]) == 3
    assert {answer.body for answer in answers} == {answers[0].body}


def test_many_pictures_are_answered_in_order_and_read_as_answers_come(
    router: SyncRouterClient,
) -> None:
    read = 0

    def pictures() -> Iterator[bytes]:
        nonlocal read
        for read in range(1, 15):
            yield b"\xff\xd8\xff no picture" if read == 7 else png(32 + read)

    answers = []
    for number, answer in enumerate(router.infer_many(pictures(), model=MODEL, in_flight=4)):
        assert answer.id == str(number)
        assert read <= number + 4
        answers.append(answer)
    assert len(answers) == 14
    bad = answers.pop(6)
    assert (bad.ok, bad.reason) == (False, "INVALID_REQUEST")
    assert [width_of(answer.body) for answer in answers] == [n + 32 for n in range(1, 15) if n != 7]


def test_leaving_the_loop_early_ends_the_stream_and_the_client_goes_on(
    router: SyncRouterClient,
) -> None:
    stream = router.infer_many((png(40) for _ in range(1000)), model=MODEL, in_flight=3)
    assert next(stream).ok
    stream.close()
    assert router.infer(png(40), model=MODEL).ok


def test_errors_are_the_routers_own(router: SyncRouterClient, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no-such-model"):
        router.infer(png(32), model="no-such-model")
    with pytest.raises(NotFound, match="no-such-model"):
        list(router.infer_many([png(32)] * 4, model="no-such-model", in_flight=2))
    with pytest.raises(InvalidRequest, match="image"):
        router.infer(b"\xff\xd8\xff no picture", model=MODEL)
    with pytest.raises(PermissionDenied, match="may not name s3://other/a"):
        router.infer(FrameRef("other", "a.png", '"x"', 0, 10, "image/png"), model=MODEL)
    with pytest.raises(NotFound, match="no such file"):
        router.infer(tmp_path / "none.png", model=MODEL)
    with pytest.raises(InvalidRequest, match="neither PNG nor JPEG"):
        router.infer(b"GIF89a", model=MODEL)
    with pytest.raises(InvalidRequest, match=r"found \(4, 4\) uint8"):
        router.infer(np.zeros((4, 4), np.uint8), model=MODEL)


def test_what_the_pictures_raise_comes_out_where_they_are_read(router: SyncRouterClient) -> None:
    def pictures() -> Iterator[bytes]:
        yield png(32)
        raise LookupError("the camera is gone")

    with pytest.raises(LookupError, match="camera"):
        list(router.infer_many(pictures(), model=MODEL))


def test_several_threads_use_one_client(router: SyncRouterClient) -> None:
    def many(thread: int) -> list[int]:
        widths = [png(40 + 8 * thread + n) for n in range(4)]
        return [width_of(answer.body) for answer in router.infer_many(widths, model=MODEL)]

    with ThreadPoolExecutor(3) as pool:
        got = list(pool.map(many, range(3)))
    assert got == [[40 + 8 * thread + n for n in range(4)] for thread in range(3)]


async def test_a_running_loop_in_the_calling_thread_is_no_obstacle(
    router: SyncRouterClient,
) -> None:
    # As in a notebook, whose cells run within a loop.
    assert asyncio.get_running_loop().is_running()
    assert router.infer(pixels(32), model=MODEL).ok
    assert [model.name for model in router.list_models()] == [MODEL, OTHER_MODEL]
    (counts,) = router.statistics(MODEL)
    assert counts.succeeded > 0


def test_a_closed_client_says_so_also_to_those_who_wait(router_address: str) -> None:
    client = SyncRouterClient(router_address)
    stream = client.infer_many((png(32) for _ in range(1000)), model=MODEL, in_flight=2)
    assert next(stream).ok
    client.close()
    with pytest.raises(Cancelled, match="closed"):
        list(stream)
    with pytest.raises(Cancelled, match="closed"):
        client.list_models()
    client.close()
    assert not any(thread.name.endswith(router_address) for thread in threading.enumerate())


def test_a_router_that_is_not_there_is_not_ready() -> None:
    with SyncRouterClient("127.0.0.1:9") as client, pytest.raises(NotReady):
        client.list_models()
