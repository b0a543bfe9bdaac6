"""The router as a process, in front of the real model container: for callers of any kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from simcloud.s3.client import S3Settings
from support.eventually import eventually_sync
from support.model_server import ModelServer

_PREFIX = "SIMCLOUD_INFERENCE_ROUTER_"


@contextmanager
def router_process(
    folder: Path,
    model: ModelServer,
    *,
    s3: S3Settings | None = None,
    allowed_buckets: str = "",
    settings: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """``python -m simcloud_inference_router`` with the catalogue of the container's models.

    Args:
        folder: for its port file and log.
        model: the container.
        s3: where it reads frame refs; None: it reads none.
        allowed_buckets: as the setting: names between commas.
        settings: others, by their variables without the service's prefix.

    Yields:
        Its ``host:port``.
    """
    # Imports the service, which not every test session needs or has.
    from support.router import LOCAL_CATALOG

    environment = {
        "METRICS_LISTEN": "127.0.0.1:0",
        "SAGEMAKER_ENDPOINT_URL": model.url,
        "SAGEMAKER__ACCESS_KEY_ID": "AKID",
        "SAGEMAKER__SECRET_ACCESS_KEY": "secret",
        "ALLOWED_BUCKETS": allowed_buckets,
        **({} if s3 is None else _of_s3(s3)),
        **(settings or {}),
    }
    port_file = folder / "ports.json"
    with (folder / "router.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "simcloud_inference_router"),
                *("--listen", "127.0.0.1:0"),
                *("--catalog", str(LOCAL_CATALOG), "--port-file", str(port_file)),
            ],
            env={**_kept(), **{_PREFIX + key: value for key, value in environment.items()}},
            stdout=log,
            stderr=log,
        )
    try:
        eventually_sync(
            lambda: process.poll() is not None or (port_file.exists() and port_file.read_text()),
            within_s=60,
            what="the router listens",
        )
        assert process.poll() is None, (folder / "router.log").read_text()
        yield f"127.0.0.1:{json.loads(port_file.read_text())['grpc']}"
    finally:
        process.terminate()
        process.wait(30)


def _of_s3(s3: S3Settings) -> Mapping[str, str]:
    return {
        "S3__ENDPOINT_URL": s3.endpoint_url,
        "S3__ACCESS_KEY_ID": s3.access_key_id,
        "S3__SECRET_ACCESS_KEY": s3.secret_access_key.get_secret_value(),
        "S3__PATH_STYLE": "true",
    }


def _kept() -> Mapping[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(_PREFIX)}
