"""The README's code blocks, run as they stand against a small run that is really made."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simcloud.dataset.layout import RunLocation
from simcloud.s3.objects import open_store
from simcloud.spec.plan import Plan
from support.generating import resolved, running_pair, stored_showroom
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server, running_s3_server

README = Path(__file__).parents[2] / "README.md"
_BLOCK = re.compile(r"<!-- test: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
BLOCKS = dict(_BLOCK.findall(README.read_text(encoding="utf-8")))
SHOWN = {
    "webdataset": r"^000000000 \(48, 64, 3\) \d+ objects$",
    "duckdb": r"couch|chair|bed|potted plant",
    "ranged-get": r"^000000000\.main\.rgb\.png \d+ bytes$",
    "library": r"^0 main \{'rgb': \(48, 64, 3\)",
}
"""What each block prints, on this run of four frames of 64x48."""
LOCATION = RunLocation(bucket="simcloud", prefix="", run="showroom")


async def _make_run(server: S3Server, cache: Path) -> None:
    async with (
        open_store(server.settings) as store,
        running_pair(server.settings, cache, workers=2) as pair,
    ):
        await store.ensure_bucket(LOCATION.bucket)
        spec = resolved(await stored_showroom(store, LOCATION.bucket), pair.generator)
        plan = Plan(frames=4, frames_per_shard=2)
        created = await pair.uploads.create_run(LOCATION, spec=spec, plan=plan)
        async for _ in pair.client.generate(spec, LOCATION, created.shards):
            pass
        assert (await pair.uploads.publish_run(LOCATION)).created


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `eval "$(simcloud context env)"` and `export RUN=...` set."""
    cache = tmp_path_factory.getbasetemp().parent / "simcloud-cache"
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        asyncio.run(_make_run(server, cache))
        yield {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": server.endpoint_url,
            "AWS_REGION": "us-east-1",
            "RUN": LOCATION.uri,
        }


def test_every_block_of_the_readme_is_run() -> None:
    assert BLOCKS.keys() == SHOWN.keys()


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_block_of_the_readme_does_what_it_says(
    name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "block.py"
    script.write_text(BLOCKS[name], encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert re.search(SHOWN[name], ended.stdout, re.MULTILINE), ended.stdout
