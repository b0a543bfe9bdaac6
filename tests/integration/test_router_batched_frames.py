"""Frames as rows of a tensor, of several streams, sent as one."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from simcloud.client.router import Frame, FrameAnswer, Picture
from simcloud.oip.pool import OipMessage
from simcloud.oip.tensors import (
    Tensor,
    fill_request,
    new,
    output_arrays,
    split_bytes,
    tensor_of,
)
from simcloud.rpc.status import client_errors
from simcloud_cli.context import Config, Context, save_config
from support.batching import BAD, TRITON, Batched, answer_of, batched, tensors_of
from support.eventually import eventually
from support.scripted_endpoint import Invocation, Reply

PICTURES = {
    "picture_codec": "tensor",
    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1, 1]}],
    "outputs": [{"name": "size", "datatype": "INT64", "shape": [-1, 1]}],
}
ARRAYS = {"picture_codec": "tensor"}


def measured(invocation: Invocation) -> Reply:
    """The size of each encoded picture."""
    (pictures,) = tensors_of(invocation)
    sizes = np.array([[len(each)] for each in split_bytes(pictures.data)], "<i8")
    return answer_of(Tensor("size", "INT64", sizes.shape, sizes.tobytes()))


async def frames(sizes: range) -> AsyncIterator[Frame]:
    for size in sizes:
        yield Frame(str(size), Picture("image/png", bytes(size)))


async def answers(
    det: Batched, source: AsyncIterator[Frame], **changes: object
) -> list[FrameAnswer]:
    stream = det.router.client.infer_frames("det", source, **changes)  # type: ignore[arg-type]
    return [answer async for answer in stream]


def numbers(answer: FrameAnswer) -> list[float]:
    assert answer.ok, answer.message
    found: list[float] = json.loads(answer.body)["outputs"][0]["data"]
    return found


def npy(*values: float) -> Picture:
    file = io.BytesIO()
    np.save(file, np.array(values, "<f4"))
    return Picture("application/x-npy", file.getvalue())


async def test_encoded_pictures_of_two_streams_are_one_request(tmp_path: Path) -> None:
    async with batched(tmp_path, changes=PICTURES) as det:
        det.endpoint.respond = measured
        det.endpoint.hold = asyncio.Event()
        first = asyncio.ensure_future(answers(det, frames(range(1, 2))))
        await eventually(lambda: det.endpoint.in_flight == 1)
        streams = [
            asyncio.ensure_future(answers(det, frames(range(10, 13)))),
            asyncio.ensure_future(answers(det, frames(range(20, 24)))),
        ]
        await det.forming(7)
        det.release()
        assert numbers((await first)[0]) == [1]
        for stream, expected in zip(streams, (range(10, 13), range(20, 24)), strict=True):
            got = await stream
            assert [each.id for each in got] == [str(size) for size in expected]
            assert [numbers(each) for each in got] == [[size] for size in expected]
            assert all((each.target, each.attempts) == ("det", 1) for each in got)
        assert det.sent == [1, 7]
        document = json.loads((await first)[0].body)
        assert (document["model_name"], document["id"]) == ("det", "1")
        assert det.router.router.payloads.in_use == 0


async def test_the_endpoints_call_ends_with_the_last_stream_that_has_frames_in_it(
    tmp_path: Path,
) -> None:
    options = {"preferred_batch_size": [4], "max_queue_delay_microseconds": 30_000_000}
    async with batched(tmp_path, changes=PICTURES, options=options) as det:
        det.endpoint.respond = measured
        for leaving in (1, 2):
            det.endpoint.hold = asyncio.Event()
            streams = [asyncio.ensure_future(answers(det, frames(range(1, 3)))) for _ in "ab"]
            await eventually(lambda: det.endpoint.in_flight == 1)
            assert det.sent[-1] == 4
            for stream in streams[:leaving]:
                stream.cancel()
            await eventually(lambda: det.counts.failed.get("CANCELLED", 0) >= 2)
            if leaving == 1:
                assert det.endpoint.disconnected == 0
                det.release()
                assert [numbers(each) for each in await streams[1]] == [[1], [2]]
            else:
                await eventually(lambda: det.endpoint.disconnected == 1)
        assert det.counts.failed == {"CANCELLED": 6}
        det.assert_idle()
        await eventually(lambda: det.router.router.payloads.in_use == 0)


async def test_arrays_are_rows_and_one_that_does_not_fit_fails_alone(tmp_path: Path) -> None:
    sent = [
        npy(1.0, 2.0, 3.0, 4.0),
        npy(1.0, 2.0),
        Picture("image/png", b"picture"),
        Picture("application/x-npy", b"no array"),
        npy(5.0, 5.0, 5.0, 5.0),
    ]

    async def source() -> AsyncIterator[Frame]:
        for number, picture in enumerate(sent):
            yield Frame(str(number), picture)

    async with batched(tmp_path, changes=ARRAYS) as det:
        got = await answers(det, source())
        assert numbers(got[0]) == [2.0, 4.0, 6.0, 8.0]
        assert numbers(got[4]) == [10.0] * 4
        assert [each.reason for each in got[1:4]] == ["INVALID_REQUEST"] * 3
        assert "expected shape [-1, 4]" in got[1].message
        assert "application/x-npy" in got[2].message
        assert "no .npy array" in got[3].message
        assert sum(det.sent) == 2


async def test_answers_come_in_the_form_that_was_asked_for(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[Frame]:
        yield Frame("a", npy(0.5, 0.5, 0.5, 0.5))

    async with batched(tmp_path, changes=ARRAYS) as det:
        (binary,) = await answers(det, source(), accept=TRITON)
        size = int(binary.media_type.rpartition("=")[2])
        assert binary.media_type.startswith(TRITON)
        assert json.loads(binary.body[:size])["outputs"][0]["shape"] == [1, 4]
        assert np.frombuffer(binary.body[size:], "<f4").tolist() == [1.0] * 4
        (refused,) = await answers(det, source(), accept="text/csv")
        assert (refused.reason, refused.attempts) == ("INVALID_REQUEST", 0)
        det.endpoint.respond = lambda _: answer_of(
            Tensor("y", "FP32", (1, 4), np.full(4, np.nan, "<f4").tobytes())
        )
        (nan,) = await answers(det, source())
        assert nan.reason == "TARGET_ERROR"
        assert f"ask for {TRITON}" in nan.message


def request_of(value: float, *, priority: int | None = None) -> OipMessage:
    request = new("ModelInferRequest")
    request.model_name, request.id = "det", str(value)
    fill_request(request, [("x", np.full((1, 4), value, "<f4"))])
    if priority is not None:
        request.parameters["priority"].uint64_param = priority
    return request


async def stream(det: Batched, *requests: OipMessage) -> list[OipMessage]:
    async def source() -> AsyncIterator[OipMessage]:
        for each in requests:
            yield each

    with client_errors():
        return [each async for each in det.router.oip.ModelStreamInfer(source(), timeout=30)]


async def test_unary_requests_and_those_of_tensor_streams_are_batched_too(tmp_path: Path) -> None:
    async def unary(value: float) -> float:
        with client_errors():
            answer = await det.router.oip.ModelInfer(request_of(value), timeout=30)
        assert answer.id == str(value)
        return float(output_arrays(answer)["y"][0, 0])

    async with batched(tmp_path) as det:
        holder = await det.hold()
        calls = [asyncio.ensure_future(unary(float(each))) for each in (2, 3, 4)]
        await det.forming(3)
        streaming = asyncio.ensure_future(
            stream(det, *[request_of(each) for each in (5.0, BAD, 6.0)])
        )
        await det.forming(6)
        det.release()
        assert await holder == [2.0]
        assert await asyncio.gather(*calls) == [4.0, 6.0, 8.0]
        first, bad, last = await streaming
        assert output_arrays(first.infer_response)["y"][0, 0] == 10.0
        assert "a bad row" in bad.error_message
        assert output_arrays(last.infer_response)["y"][0, 0] == 12.0
        # The two kinds take turns, so each has batches of its own; the streams' is sent apart.
        assert sorted(det.sent) == [1, 1, 1, 1, 3, 3]
        statistics = new("ModelStatisticsRequest")
        statistics.name = "det"
        (told,) = (await det.router.oip.ModelStatistics(statistics)).model_stats
        assert (told.inference_count, told.execution_count) == (6, 4)
        assert {each.batch_size: each.compute_infer.count for each in told.batch_stats} == {
            1: 3,
            3: 1,
        }
        assert told.inference_stats.success.count == 6


@pytest.mark.parametrize("options", [None, {}])
async def test_a_streams_request_of_priority_1_goes_before_other_streams(
    tmp_path: Path, options: Mapping[str, object] | None
) -> None:
    async with batched(tmp_path, changes={"dynamic_batching": options}) as det:
        det.endpoint.hold = asyncio.Event()
        holding = asyncio.ensure_future(stream(det, request_of(1.0)))
        await eventually(lambda: det.endpoint.in_flight == 1)
        ordinary = asyncio.ensure_future(stream(det, request_of(2.0), request_of(3.0, priority=2)))
        await eventually(lambda: det.model.door.waiting == 2)
        first = asyncio.ensure_future(stream(det, request_of(4.0, priority=1)))
        await eventually(lambda: det.model.door.waiting == 3)
        det.release()
        await asyncio.gather(holding, ordinary, first)
        order = [tensors_of(each)[0].array()[0, 0] for each in det.endpoint.seen]
        assert order == [1.0, 4.0, 2.0, 3.0]


# The command in a process of its own: it has an event loop of its own.
_INFER = """
import json, sys
from typer.testing import CliRunner
from simcloud_cli.app import app

result = CliRunner().invoke(app, ["infer", *sys.argv[1:], "--json"])
print(json.dumps([result.exit_code, result.stdout, str(result.exception or "")]))
"""


async def test_infer_reads_and_draws_the_outputs_of_a_model_of_tensors(tmp_path: Path) -> None:
    detector = {
        **PICTURES,
        "labels": ["chair", "couch"],
        "outputs": [
            {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
            {"name": "classes", "datatype": "INT64", "shape": [-1, -1]},
            {"name": "count", "datatype": "INT64", "shape": [-1]},
        ],
    }

    def detect(invocation: Invocation) -> Reply:
        (pictures,) = tensors_of(invocation)
        rows = len(split_bytes(pictures.data))
        one = (
            ("boxes", [[[4, 4, 20, 20], [8, 8, 30, 30], [0, 0, 0, 0]]], "<f4"),
            ("scores", [[0.9, 0.2, 0]], "<f4"),
            ("classes", [[1, 0, 0]], "<i8"),
            ("count", [2], "<i8"),
        )
        return answer_of(
            *[tensor_of(name, np.repeat(np.array(row, kind), rows, 0)) for name, row, kind in one]
        )

    async with batched(tmp_path, changes=detector) as det:
        det.endpoint.respond = detect
        config = Config(current="test", contexts={"test": Context(router=det.router.address)})
        save_config(config, tmp_path / "config.yaml")
        assert cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), 120, np.uint8))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _INFER, "a.png", "--model", "det", "-o", "out"),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "SIMCLOUD_CONFIG": str(tmp_path / "config.yaml")},
            cwd=tmp_path,
        )
        out, _ = await process.communicate()
        code, said, error = json.loads(out)
        assert code == 0, (said, error)
        (row,) = json.loads(said)
        # The second is below the command's threshold, the third is no object.
        (seen,) = row["detections"]
        assert (seen["label"], seen["box_xyxy_px"]) == ("couch", [4, 4, 20, 20])
        assert (tmp_path / row["drawn"]).exists()
