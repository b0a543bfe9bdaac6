"""`simcloud endpoint package`: the real container serves it, and AWS's way of calling does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from simcloud.errors import InvalidRequest, NotFound
from simcloud.s3.objects import open_store
from simcloud_cli.app import app
from simcloud_cli.endpoints.aws import AwsPlace
from simcloud_cli.endpoints.packaged import PackagedModel
from simcloud_cli.endpoints.upload import packaged_at
from simcloud_cli.model_catalog import weights_folder
from simcloud_inference_router.discovery.endpoints import TaggedEndpoint, read_endpoint
from simcloud_inference_router.discovery.options import DiscoveryOptions
from support.aws_stubs import arn, paper_aws
from support.model_server import ModelServer
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

PICTURE = Path(__file__).parents[1] / "data" / "model" / "showroom.jpg"
BUCKET = "endpoint-packages"
ROLE = "arn:aws:iam::123456789012:role/e"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass(frozen=True)
class Made:
    folder: Path
    unpacked: Path
    said: dict[str, Any]
    options: list[str]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIMCLOUD_CONFIG", str(tmp_path / "config.yaml"))


@pytest.fixture(scope="module")
def credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        patch.setenv("SIMCLOUD_CONFIG", "/nonexistent/config.yaml")
        yield


@pytest.fixture(scope="module")
def made(credentials: None, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """NanoDet-g, packaged, unpacked, and uploaded to a real S3 server."""

    async def make_bucket() -> None:
        async with open_store(s3_server.settings) as store:
            await store.ensure_bucket(BUCKET)

    asyncio.run(make_bucket())
    folder = tmp_path_factory.mktemp("package")
    place = ["--region", "us-east-1", "--aws-endpoint-url", s3_server.endpoint_url]
    options = ["--to", f"s3://{BUCKET}/models", *place]
    said = packaged("nanodet-g", folder, *options)
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(folder / "model.tar.gz") as tar:
        # An attribute, since the argument came with 3.11.4.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(unpacked)
    return Made(folder, unpacked, said, options)


def packaged(model: str, folder: Path, *options: str) -> dict[str, Any]:
    command = ["endpoint", "package", model, "--output", str(folder), "--json", *options]
    result = CliRunner().invoke(app, command)
    assert result.exception is None, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_real_container_serves_what_was_packaged(made: Made) -> None:
    prefix = "SIMCLOUD_MODEL_CONTAINER_"
    environment = {
        name.removeprefix(prefix): value for name, value in made.said["environment"].items()
    }
    assert environment["WEIGHTS_FOLDER"] == "/opt/ml/model"
    environment["WEIGHTS_FOLDER"] = str(made.unpacked)
    with ModelServer(environment=environment) as server:
        request = urllib.request.Request(
            f"{server.url}/invocations",
            data=PICTURE.read_bytes(),
            headers={"Content-Type": "image/jpeg"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            served = json.loads(answer.read())
    assert served["model"] == "nanodet-g"
    assert {item["label"] for item in served["detections"] if item["score"] > 0.5}
    assert by_inference_toolkit(made.unpacked) == served


def by_inference_toolkit(unpacked: Path) -> object:
    """As AWS's containers do: `code/` first on the path, two functions by their names."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1] + '/code'); import inference;"
        "import simcloud_model_container as ours; assert sys.argv[1] in ours.__file__;"
        "model = inference.model_fn(sys.argv[1]);"
        "body = open(sys.argv[2], 'rb').read();"
        "answer, kind = inference.transform_fn(model, body, 'image/jpeg', 'application/json');"
        "assert kind == 'application/json'; sys.stdout.write(answer.decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(unpacked), str(PICTURE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_archive_holds_the_model_and_nothing_else_of_the_weights(made: Made) -> None:
    names = sorted(path.name for path in made.unpacked.iterdir())
    assert names == ["coco80.txt", "code", "models.toml", "nanodet_g_416.onnx"]
    # The archive's own names: whoever ran the unpacked code left its bytecode there.
    with tarfile.open(made.folder / "model.tar.gz") as tar:
        inside = [name.split("/") for name in tar.getnames()]
    code = {name[1] for name in inside if name[0] == "code" and len(name) > 1}
    assert code == {"inference.py", "requirements.txt", "simcloud_model_container"}
    assert not any("__pycache__" in name for name in inside)


def test_it_lies_in_s3_under_its_digest_with_what_is_known_of_it(
    made: Made, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    digest = made.said["sha256"]
    uri = f"s3://{BUCKET}/models/nanodet-g/{digest[:16]}/model.tar.gz"
    assert made.said["uri"] == uri
    place = AwsPlace(region="us-east-1", endpoint_url=s3_server.endpoint_url)
    found = asyncio.run(packaged_at(uri, place))
    assert found is not None
    assert found == PackagedModel.model_validate_json((made.folder / "model.json").read_bytes())
    assert found.sha256 == digest
    with pytest.raises(NotFound):
        asyncio.run(packaged_at(uri.replace("nanodet-g", "other"), place))


def test_deploy_knows_the_model_of_an_archive_in_s3(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    command = ["endpoint", "deploy", "detector", "--role", "arn:aws:iam::123456789012:role/e"]
    command += ["--image", "image:1", "--kind", "serverless", "--plan", "--json"]
    for source in (
        ["--model", made.said["uri"], *made.options[2:]],
        ["--model", str(made.folder), *made.options],
    ):
        with paper_aws(monkeypatch) as aws:
            for operation in ("DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint"):
                aws.refuses("sagemaker", operation, "ValidationException", "Could not find x")
            aws.answers("sagemaker", "ListEndpointConfigs", None, {"EndpointConfigs": []})
            result = CliRunner().invoke(app, [*command, *source])
            assert result.exception is None, result.exception
        found = json.loads(result.stdout)
        container = found["plan"][0]["parameters"]["PrimaryContainer"]
        assert container["ModelDataUrl"] == made.said["uri"]
        assert container["Environment"] == made.said["environment"]
        assert found["model"]["digest"] == made.said["model"]["digest"]
        assert found["model"]["targets"][0]["kind"] == "sagemaker_serverless"


def test_a_triton_repository_is_the_network_alone(tmp_path: Path) -> None:
    said = packaged("efficientnet-lite0", tmp_path, "--format", "triton")
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        assert tar.getnames() == [
            "efficientnet-lite0/1/model.onnx",
            "efficientnet-lite0/config.pbtxt",
        ]
        member = tar.extractfile("efficientnet-lite0/config.pbtxt")
        assert member is not None
        assert "dims: [ 3, 224, 224 ]" in member.read().decode()
    assert said["environment"] == {"SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": "efficientnet-lite0"}
    assert said["model"]["picture_codec"] is None


def weights_with(folder: Path, old: str, new: str) -> Path:
    """The packaged weights' folder with something else in its models.toml."""
    folder.mkdir()
    for path in weights_folder().iterdir():
        if path.name != "models.toml" and path.is_file():
            (folder / path.name).symlink_to(path)
    text = (weights_folder() / "models.toml").read_text()
    assert old in text
    (folder / "models.toml").write_text(text.replace(old, new, 1))
    return folder


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('family = "nanodet"', 'family = "efficientnet_lite"', "can't serve it"),
        ('file = "nanodet_g_416.onnx"', 'file = "../x.onnx"', "not a file in the folder"),
    ],
)
def test_what_the_container_could_not_serve_is_refused_before_anything_is_written(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    weights = weights_with(tmp_path / "weights", old, new)
    output = tmp_path / "out"
    command = ["endpoint", "package", "nanodet-g", "--weights", str(weights)]
    result = CliRunner().invoke(app, [*command, "--output", str(output)])
    assert isinstance(result.exception, InvalidRequest), result.exception
    assert words in result.exception.message
    assert not output.exists()


def test_a_model_that_is_not_there_is_named_beside_those_that_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["endpoint", "package", "yolo", "-o", str(tmp_path)])
    assert isinstance(result.exception, NotFound)
    assert "nanodet-g, efficientnet-lite0" in result.exception.message


def test_a_router_that_looks_for_endpoints_finds_it_by_its_tags(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    endpoint = arn("endpoint/detector")
    described = {
        "EndpointName": "detector",
        "EndpointArn": endpoint,
        "EndpointStatus": "Creating",
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
    }
    with paper_aws(monkeypatch) as aws:
        for operation in ("DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint"):
            aws.refuses("sagemaker", operation, "ValidationException", "Could not find x")
        aws.answers("sagemaker", "ListEndpointConfigs", None, {"EndpointConfigs": []})
        for operation, answer in (
            ("CreateModel", {"ModelArn": arn("model/x")}),
            ("CreateEndpointConfig", {"EndpointConfigArn": arn("endpoint-config/x")}),
            ("CreateEndpoint", {"EndpointArn": endpoint}),
            ("DescribeEndpoint", described),
            ("ListTags", {"Tags": []}),
            ("AddTags", {"Tags": []}),
        ):
            aws.answers("sagemaker", operation, None, answer)
        command = ["endpoint", "deploy", "detector", "--role", ROLE, "--image", "image:1"]
        command += ["--kind", "serverless", "--model", made.said["uri"], *made.options[2:]]
        result = CliRunner().invoke(app, [*command, "--discover", "--wait-minutes", "0"])
        assert result.exception is None, result.exception
        sent = aws.sent[-1]
    assert "routers that look for endpoints find it" in result.stdout
    assert sent[1] == "AddTags"
    tags = {row["Key"]: row["Value"] for row in sent[2]["Tags"]}
    found = read_endpoint(
        TaggedEndpoint(name="detector", status="InService", tags=tags), DiscoveryOptions()
    )
    assert (found.model, found.digest) == ("nanodet-g", made.said["model"]["digest"])
