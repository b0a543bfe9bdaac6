"""Bad input from the command line: one line that says what and where, the right code, no work.

Real `simcloud` processes against one embedded stack that all cases share.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from simcloud_cli.exit_codes import ExitCode
from support.eventually import eventually_sync

STAGE = """#usda 1.0
(
    defaultPrim = "World"
    metersPerUnit = 1
    upAxis = "Z"
)
def Xform "World"
{
%s
}
"""
CUBE = """    def Cube "Box"
    {
        double size = 1
    }"""
TEXTURED = """    def Material "Look"
    {
        token outputs:surface.connect = </World/Look/Surface.outputs:surface>
        def Shader "Surface"
        {
            uniform token info:id = "UsdPreviewSurface"
            color3f inputs:diffuseColor.connect = </World/Look/Picture.outputs:rgb>
            token outputs:surface
        }
        def Shader "Picture"
        {
            uniform token info:id = "UsdUVTexture"
            asset inputs:file = @gone.png@
            float3 outputs:rgb
        }
    }"""
pytestmark = pytest.mark.timeout(300)  # a stack starts and renders within the first and the last
TINY = ("--frames", "4", "--frames-per-shard", "2", "--no-score")


@dataclass(frozen=True, slots=True)
class Case:
    """A command that must be refused."""

    name: str
    arguments: tuple[str, ...]
    code: ExitCode
    says: tuple[str, ...]


def _spec(folder: Path, name: str, *, stage: str = "cube.usda", **changed: object) -> None:
    camera = {
        "name": "main",
        "width_px": 32,
        "height_px": 24,
        "horizontal_fov_deg": 60,
        "placement": {"kind": "look_at", "eye": [0, -4, 2], "target": [0, 0, 0]},
    }
    spec: dict[str, object] = {
        "version": "simcloud.spec/v1",
        "seed": 1,
        "scene": {"root": stage},
        "annotators": ["rgb", "bounding_box_2d_tight"],
        "cameras": [{**camera, **{k: v for k, v in changed.items() if k == "width_px"}}],
        **{k: v for k, v in changed.items() if k != "width_px"},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(spec))


def _environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SIMCLOUD_")}
    return {**kept, "SIMCLOUD_CONFIG": str(folder / "config.yaml")}


def _simcloud(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simcloud_cli", *arguments],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@contextmanager
def _stack(folder: Path) -> Iterator[dict[str, Any]]:
    with (folder / "up.json").open("wb") as out, (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "simcloud_cli", "up", "--ephemeral", "--json"],
            cwd=folder,
            env=_environment(folder),
            stdout=out,
            stderr=log,
        )
        try:
            eventually_sync(
                lambda: process.poll() is not None or (folder / "up.json").stat().st_size > 0,
                within_s=90,
            )
            assert process.poll() is None, (folder / "up.log").read_text()
            yield json.loads((folder / "up.json").read_text())
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of specs, a running stack, and a run `made` of two shards."""
    folder = tmp_path_factory.mktemp("bad-input")
    for name, content in {"cube": CUBE, "empty": "", "untextured": TEXTURED}.items():
        (folder / f"{name}.usda").write_text(STAGE % content)
    (folder / "words.usda").write_text("these are words, not a stage")
    _spec(folder, "good")
    _spec(folder, "other-seed", seed=2)
    _spec(folder, "annotator", annotators=["rgb", "oclusion"])
    _spec(folder, "width-0", width_px=0)
    _spec(folder, "width-100000", width_px=100_000)
    _spec(folder, "width-5000", width_px=5000)
    _spec(folder, "cuda", renderer={"variant": "cuda_ad_rgb"})
    _spec(folder, "isaac", renderer={"backend": "isaac"})
    for stage in ("empty", "untextured", "words", "nowhere"):
        _spec(folder, f"stage-{stage}", stage=f"{stage}.usda")
    (folder / "list.yaml").write_text("- a\n- b\n")
    (folder / "torn.yaml").write_text("{")
    with _stack(folder) as where:
        _contexts(folder, where)
        made = _simcloud(folder, "run", "good.yaml", *TINY, "--name", "made")
        assert made.returncode == ExitCode.COMPLETE, made.stderr
        yield folder


def _contexts(folder: Path, where: dict[str, Any]) -> None:
    services = {key: where[key] for key in ("generator", "uploader", "router")}
    s3 = {
        "endpoint_url": where["s3_endpoint"],
        "access_key_id": where["access_key"],
        "secret_access_key": where["secret_key"],
        "path_style": True,
    }
    contexts = {
        "no-bucket": {**services, "s3": s3, "bucket": "nowhere-to-be-found"},
        "no-s3": {**services, "s3": {**s3, "endpoint_url": "http://127.0.0.1:9"}},
        "no-generator": {**services, "s3": s3, "generator": "127.0.0.1:9"},
        "no-name": {"s3": s3},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"contexts": contexts}))


def _run(spec: str, name: str = "refused") -> tuple[str, ...]:
    return ("run", f"{spec}.yaml", *TINY, "--name", name)


CASES = [
    Case("annotator", _run("annotator"), ExitCode.USAGE, ("annotators", "'oclusion'", "rgb")),
    Case("width 0", _run("width-0"), ExitCode.USAGE, ("cameras[0].width_px", "equal to 1")),
    Case("width 100000", _run("width-100000"), ExitCode.USAGE, ("cameras[0].width_px", "8192")),
    Case("above the limit", _run("width-5000"), ExitCode.USAGE, ("cameras[0]", "4096 px")),
    Case("cuda", _run("cuda"), ExitCode.FAILURE, ("'cuda_ad_rgb'", "or take that or auto")),
    Case("isaac", _run("isaac"), ExitCode.FAILURE, ("'isaac'", "another backend")),
    Case("empty", _run("stage-empty"), ExitCode.USAGE, ("stage-empty.yaml", "no geometry")),
    Case("no stage", _run("stage-nowhere"), ExitCode.USAGE, ("nowhere.usda", "is not a file")),
    Case("no USD", _run("stage-words"), ExitCode.USAGE, ("words.usda", "not a valid usda layer")),
    Case("texture", _run("stage-untextured"), ExitCode.USAGE, ("gone.png", "not there")),
    Case("no spec", _run("absent"), ExitCode.USAGE, ("absent.yaml", "no such file")),
    Case("a list", _run("list"), ExitCode.USAGE, ("list.yaml", "is no mapping")),
    Case("torn YAML", _run("torn"), ExitCode.USAGE, ("torn.yaml", "can't be read as YAML")),
    Case("name", _run("good", "Bad Name/x"), ExitCode.USAGE, ("run: 'Bad Name/x'", "[a-z0-9-_.]")),
    Case("another seed", _run("other-seed", "made"), ExitCode.USAGE, ("fields differ", "seed")),
    Case(
        "fewer frames",
        ("run", "good.yaml", "--frames", "2", "--no-score", "--name", "made"),
        ExitCode.USAGE,
        ("--frames", "has 4 frames and can't shrink to 2"),
    ),
    Case(
        "other shards",
        ("run", "good.yaml", "--frames-per-shard", "3", "--no-score", "--name", "made"),
        ExitCode.USAGE,
        ("--frames-per-shard", "has 2 and can't change to 3"),
    ),
    Case(
        "model",
        ("run", "good.yaml", *TINY[:4], "--model", "nosuch", "--name", "refused"),
        ExitCode.USAGE,
        ("no model 'nosuch'", "nanodet-g"),
    ),
    Case("resume", ("resume", "nosuch"), ExitCode.USAGE, ("no run s3://simcloud/nosuch",)),
    Case("verify", ("verify", "nosuch"), ExitCode.USAGE, ("no run s3://simcloud/nosuch",)),
    Case("score", ("score", "nosuch"), ExitCode.USAGE, ("s3://simcloud/nosuch has no manifest",)),
    Case("verify name", ("verify", "A b"), ExitCode.USAGE, ("'A b' is not a run's name",)),
    Case("picture", ("infer", "nothere.png"), ExitCode.USAGE, ("no such file or folder",)),
    Case("context", ("-c", "nosuch", "runs", "list"), ExitCode.USAGE, ("no context 'nosuch'",)),
    Case(
        "bucket",
        ("-c", "no-bucket", *_run("good")),
        ExitCode.USAGE,
        ("bucket 'nowhere-to-be-found' does not exist", "create it"),
    ),
    Case("S3", ("-c", "no-s3", *_run("good")), ExitCode.UNREACHABLE, ("no answer from S3",)),
    Case(
        "generator",
        ("-c", "no-generator", *_run("good")),
        ExitCode.UNREACHABLE,
        ("the generator of context no-generator", "127.0.0.1:9", "start it"),
    ),
    Case(
        "no generator named",
        ("-c", "no-name", *_run("good")),
        ExitCode.FAILURE,
        ("names no generator", "simcloud context set no-name generator="),
    ),
    Case("a second stack", ("up",), ExitCode.USAGE, ("already running", "--state-dir")),
    Case(
        "no such folder",
        ("--state-dir", "/proc/simcloud", *_run("good")),
        ExitCode.FAILURE,
        ("state folder /proc/simcloud can't be made", "--state-dir"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bad_input_is_refused_in_one_line_before_any_work(workplace: Path, case: Case) -> None:
    result = _simcloud(workplace, *case.arguments)
    assert result.returncode == case.code, result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1, result.stderr
    assert all(text in errors[0] for text in case.says), result.stderr
    assert "first picture" not in result.stderr
    assert "go on with" not in result.stderr, "nothing was begun"
    assert not result.stdout


def test_what_was_refused_made_no_run_and_changed_none(workplace: Path) -> None:
    listed = _simcloud(workplace, "runs", "list", "--json")
    assert [(item["run"], item["stored_frames"]) for item in json.loads(listed.stdout)] == [
        ("made", 4)
    ]


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = _simcloud(tmp_path, "up", "--s3-port", str(port))
    assert result.returncode == ExitCode.FAILURE
    assert f"port {port} for the S3 server is taken" in result.stderr
    assert "starting" not in result.stderr


def test_what_verify_says_mends_a_lost_tar_and_a_damaged_one(workplace: Path) -> None:
    for damage in ("lost", "damaged"):
        _spoil(workplace, damage)
        found = _simcloud(workplace, "verify", "made", "--json")
        assert found.returncode == ExitCode.INCOMPLETE
        missing = json.loads(found.stdout)["missing"]
        assert [item["shard"] for item in missing] == [1]
        for command in missing[0]["mend"].split("; "):
            words = command.removeprefix("simcloud ").split()
            extra = ("--no-score",) if words[0] == "resume" else ()
            mended = _simcloud(workplace, *words, *extra)
        assert mended.returncode == ExitCode.COMPLETE, mended.stderr
        again = _simcloud(workplace, "verify", "made", "--deep", "--json")
        assert again.returncode == ExitCode.COMPLETE, again.stdout
    sampled = _simcloud(workplace, "verify", "made", "--sample", "1", "--json")
    assert sampled.returncode == ExitCode.COMPLETE, sampled.stdout
    deep, some = json.loads(again.stdout), json.loads(sampled.stdout)
    assert 0 < some["bytes_checked"] < deep["bytes_checked"]


def _spoil(workplace: Path, damage: str) -> None:
    import boto3

    shown = json.loads(_simcloud(workplace, "context", "env", "--json").stdout)
    s3 = boto3.client(
        "s3",
        endpoint_url=shown["AWS_ENDPOINT_URL"],
        aws_access_key_id=shown["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=shown["AWS_SECRET_ACCESS_KEY"],
        region_name=shown["AWS_REGION"],
    )
    where = {"Bucket": "simcloud", "Key": "made/shards/000001.tar"}
    data = bytearray(s3.get_object(**where)["Body"].read())
    s3.delete_object(**where)
    if damage == "damaged":
        data[len(data) // 2] ^= 1
        s3.put_object(**where, Body=bytes(data))


def test_two_commands_that_grow_a_published_run_at_once_both_end_with_all_of_it(
    workplace: Path,
) -> None:
    larger = ("run", "good.yaml", "--frames", "6", *TINY[2:], "--name", "made", "--json")
    growing = [
        subprocess.Popen(
            [sys.executable, "-m", "simcloud_cli", *larger],
            cwd=workplace,
            env=_environment(workplace),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [(*process.communicate(timeout=110), process.returncode) for process in growing]
    for answer, errors, code in answers:
        assert code == ExitCode.COMPLETE, errors
        assert json.loads(answer)["accounting"]["stored"] == 6
    shown = json.loads(_simcloud(workplace, "runs", "show", "made", "--json").stdout)
    assert (shown["plan_generation"], shown["stored_frames"]) == (2, 6)
    shrinking = _simcloud(workplace, *_run("good", "made"))
    assert shrinking.returncode == ExitCode.USAGE
    assert "shrink" in shrinking.stderr
