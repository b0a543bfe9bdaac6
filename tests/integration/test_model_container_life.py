"""The model container as a process: what it holds at once, how it begins and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from simcloud_model_container.catalogue import PACKAGED_WEIGHTS
from support.model_requests import JPEG, eventually, invoke, post, tensor_body, variations
from support.model_server import ModelServer

ADMITTED = 'simcloud_model_images_admitted{model="nanodet-g"}'


def begin(server: ModelServer) -> HTTPConnection:
    """A request of a picture whose body is not sent yet: it is in work until ``end``."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Type", "image/jpeg")
    connection.putheader("Content-Length", str(len(JPEG)))
    connection.endheaders()
    return connection


def end(connection: HTTPConnection) -> tuple[int, bytes]:
    """Sends the body; status and body of the answer."""
    with closing(connection):
        connection.send(JPEG)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_overload_is_refused_at_once_and_passes() -> None:
    settings = {"MAX_QUEUE": "4", "ENDPOINTS": "e=nanodet-g"}
    with ModelServer(environment=settings) as server:
        content_type, batch = tensor_body("image", variations(4))
        held = [begin(server)]
        eventually(lambda: server.metric(ADMITTED) == 1, server)
        status, _, answer = post(server, batch, Content_Type=content_type)
        assert status == 503
        assert "2 of 4 images are in work and 3 more" in json.loads(answer)["error"]
        held += [begin(server) for _ in range(3)]
        eventually(lambda: server.metric(ADMITTED) == 4, server)
        status, headers, answer = post(server, JPEG, Content_Type="image/jpeg")
        assert status == 503
        assert headers["Retry-After"] == "1"
        assert "4 of 4 images are in work" in json.loads(answer)["error"]
        client = server.runtime_client()
        with pytest.raises(client.exceptions.ModelError) as refused:
            invoke(client, "e", JPEG, "image/jpeg")
        assert refused.value.response["OriginalStatusCode"] == 503
        assert [end(each)[0] for each in held] == [200] * 4
        assert server.metric(ADMITTED) == 0
        assert post(server, batch, Content_Type=content_type)[0] == 200


def test_a_request_whose_body_does_not_come_times_out_and_frees_its_slot() -> None:
    settings = {"TIMEOUT_S": "1", "MAX_QUEUE": "1", "ENDPOINTS": "e=nanodet-g"}
    with ModelServer(environment=settings) as server:
        head = "POST /endpoints/e/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port)) as slow:
            slow.sendall(head.encode())
            assert slow.recv(200).startswith(b"HTTP/1.1 424")
        assert server.metric(ADMITTED) == 0
        # A machine that stands still for that second has no answer in time; the next one has.
        eventually(lambda: post(server, JPEG, Content_Type="image/jpeg")[0] == 200, server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_zero(number: signal.Signals) -> None:
    with ModelServer() as server:
        held = begin(server)
        eventually(lambda: server.metric(ADMITTED) == 1, server)
        server.process.send_signal(number)
        eventually(lambda: server.ping() == 503, server)
        status, _, answer = post(server, JPEG, Content_Type="image/jpeg")
        assert status == 503
        assert "going down" in json.loads(answer)["error"]
        status, answer = end(held)
        assert status == 200
        assert json.loads(answer)["detections"]
        assert server.process.wait(10) == 0
        assert '"event": "stopped"' in server.log()


def test_a_signal_while_loading_ends_with_zero() -> None:
    command = [sys.executable, "-m", "simcloud_model_container", "--host", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "listening"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simcloud_model_container", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_taken_port_ends_with_one_and_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = start("--host", "127.0.0.1", "--port", str(port))
    assert ended.returncode == 1
    assert f"127.0.0.1:{port} (the port is taken)" in ended.stderr
    assert ended.stdout == ""


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models.toml", "coco80.txt"):
        (tmp_path / name).write_bytes((PACKAGED_WEIGHTS / name).read_bytes())
    weights = bytearray((PACKAGED_WEIGHTS / "nanodet_g_416.onnx").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "nanodet_g_416.onnx").write_bytes(weights)
    monkeypatch.setenv("SIMCLOUD_MODEL_CONTAINER_WEIGHTS_FOLDER", str(tmp_path))
    monkeypatch.setenv("SIMCLOUD_MODEL_CONTAINER_ENDPOINTS", "e=nanodet-g")
    ended = start("--host", "127.0.0.1", "--port", "0")
    assert ended.returncode == 1
    assert "models.toml says SHA-256" in ended.stderr


def test_an_unknown_model_or_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start("train").returncode == 2
    monkeypatch.setenv("SIMCLOUD_MODEL_CONTAINER_DEFAULT_MODEL", "yolo")
    ended = start("serve", "--port", "0")
    assert ended.returncode == 1
    assert "the settings name model yolo" in ended.stderr
