"""`simcloud doctor` tries the bucket's server and says how the uploader would write to it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from simcloud.s3.client import S3Settings
from simcloud.s3.objects import ObjectStore
from simcloud_cli.app import app
from simcloud_cli.context import Config, Context, save_config
from simcloud_cli.exit_codes import ExitCode
from support.s3_proxy import Ignorance, running_proxy
from support.s3_server import S3Server


async def doctor(folder: Path, s3: S3Settings, bucket: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and the findings by their names."""
    context = Context(s3=s3, bucket=bucket, prefix="team")
    save_config(Config(current="there", contexts={"there": context}), folder / "config.yaml")
    environment = {"SIMCLOUD_CONFIG": str(folder / "config.yaml")}
    # In a thread: the proxy is served by this event loop.
    result = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--json"], env=environment)
    return result.exit_code, {row["check"]: row for row in json.loads(result.stdout)}


async def test_a_server_that_can_do_all_is_told_and_nothing_is_left_of_the_trial(
    s3_server: S3Server, store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    _, found = await doctor(tmp_path, s3_server.settings, bucket)
    assert found["bucket"]["ok"]
    assert found["S3 server can"]["ok"]
    assert all(found["S3 server can"]["capabilities"].values())
    assert found["S3 writes"]["detail"].startswith("conditional writes")
    assert [row async for row in store.list_keys(bucket, "")] == []


@pytest.mark.parametrize(
    ("ignorance", "lacks", "taken", "words"),
    [
        (
            Ignorance(conditional_complete=True),
            "conditional_complete",
            False,
            ("refused: ", "allow_unconditional_writes_single_writer"),
        ),
        (Ignorance(checksums=True), "keeps_checksums", True, ("read back",)),
    ],
    ids=["conditions", "checksums"],
)
async def test_what_a_server_lacks_is_said_with_what_follows_and_the_mend(
    s3_server: S3Server,
    bucket: str,
    tmp_path: Path,
    ignorance: Ignorance,
    lacks: str,
    taken: bool,
    words: tuple[str, ...],
) -> None:
    async with running_proxy(s3_server.settings, ignorance=ignorance) as proxy:
        code, found = await doctor(tmp_path, proxy.settings, bucket)
    assert code == ExitCode.FAILURE
    assert found["S3 server can"]["capabilities"][lacks] is False
    assert found["S3 writes"]["ok"] is taken
    for word in words:
        assert word in found["S3 writes"]["detail"]


async def test_a_bucket_that_is_not_there_is_said_and_not_tried(
    s3_server: S3Server, tmp_path: Path
) -> None:
    code, found = await doctor(tmp_path, s3_server.settings, "nowhere-to-be-found")
    assert code == ExitCode.FAILURE
    assert "does not exist" in found["bucket"]["detail"]
    assert "S3 server can" not in found


async def test_what_is_out_of_reach_is_said_with_where_it_was_sought_and_the_mend(
    tmp_path: Path,
) -> None:
    nowhere = S3Settings(endpoint_url="http://127.0.0.1:1", access_key_id="a", path_style=True)
    nowhere = nowhere.model_copy(update={"secret_access_key": SecretStr("b")})
    context = Context(
        s3=nowhere,
        bucket="somewhere",
        generator="127.0.0.1:1",
        uploader="127.0.0.1:1",
        router="127.0.0.1:1",
    )
    save_config(Config(current="there", contexts={"there": context}), tmp_path / "config.yaml")
    environment = {"SIMCLOUD_CONFIG": str(tmp_path / "config.yaml")}
    result = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--json"], env=environment)
    assert result.exit_code == ExitCode.FAILURE
    found = {row["check"]: row["detail"] for row in json.loads(result.stdout) if not row["ok"]}
    assert found.keys() == {"bucket", "generator", "uploader", "router"}
    assert "`simcloud context set there s3.endpoint_url=..." in found["bucket"]
    for part in ("generator", "uploader", "router"):
        assert "can't be reached at 127.0.0.1:1: start it" in found[part]
        assert f"`simcloud context set there {part}=host:port`" in found[part]
    assert all("\n" not in detail for detail in found.values())
