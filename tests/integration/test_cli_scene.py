"""`simcloud scene inspect` as a user runs it: no services, a table or JSON, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from simcloud.s3.objects import ObjectStore
from simcloud_cli.exit_codes import ExitCode
from support import scenes
from support.s3_server import S3Server


def inspect(
    stage: str, *options: str, home: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simcloud_cli", "scene", "inspect", stage, *options],
        check=False,
        capture_output=True,
        text=True,
        cwd=home,
        env={**os.environ, "XDG_CONFIG_HOME": str(home), **(environment or {})},
    )


def test_a_scene_that_works_is_listed_and_the_exit_code_is_zero(tmp_path: Path) -> None:
    scenes.furnished_stage(tmp_path)
    done = inspect("stage.usda", home=tmp_path)
    assert done.returncode == ExitCode.COMPLETE, done.stderr
    for words in ("carton", "/World/Lamp", "1 x 1 x 1", "this scene can be rendered"):
        assert words in done.stdout


def test_json_has_all_of_it_and_a_broken_scene_says_what_to_mend(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    scenes.add_texture(scenes.add_material(stage, "/World/Look"), "diffuseColor", "./no.png", "rgb")
    stage.DefinePrim("/World/Hair", "BasisCurves")
    scenes.save(stage, tmp_path)
    done = inspect("stage.usda", "--json", home=tmp_path)
    assert done.returncode == ExitCode.USAGE
    found = json.loads(done.stdout)
    assert found["unsupported"] == ["/World/Hair: prims of type BasisCurves"]
    assert found["problems"] == [
        "/World/Look/Texture_diffuseColor names the texture ./no.png, which is not there"
    ]
    assert any("metersPerUnit" in hint or "nothing is labelled" in hint for hint in found["hints"])


def test_urls_that_cannot_be_opened_say_what_can(tmp_path: Path) -> None:
    done = inspect("omniverse://server/kitchen.usd", home=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert "Isaac Sim alone" in done.stderr
    done = inspect("gone.usda", home=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert "is not a file" in done.stdout


async def test_a_scene_in_s3_is_fetched_first(
    store: ObjectStore, bucket: str, s3_server: S3Server, tmp_path: Path
) -> None:
    path = scenes.furnished_stage(tmp_path)
    await store.put(bucket, "kitchens/one.usda", path.read_bytes())
    secret = s3_server.settings.secret_access_key.get_secret_value()
    done = inspect(
        f"s3://{bucket}/kitchens/one.usda",
        "--json",
        home=tmp_path,
        environment={
            "AWS_ENDPOINT_URL": s3_server.settings.endpoint_url,
            "AWS_ACCESS_KEY_ID": s3_server.settings.access_key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
        },
    )
    assert done.returncode == ExitCode.COMPLETE, done.stderr
    assert json.loads(done.stdout)["labels"] == {"can": 0, "carton": 0, "floor": 1}
