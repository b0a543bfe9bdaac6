"""The real model container's server as a child process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

_POLL = threading.Event()


class ModelServer:
    """A context manager: entered, the models are warm; left, the process is gone.

    Args:
        environment: settings, without the SIMCLOUD_MODEL_CONTAINER_ prefix.
        start_timeout_s: how long loading may take.
    """

    def __init__(
        self, *, environment: Mapping[str, str] | None = None, start_timeout_s: float = 60.0
    ) -> None:
        prefix = "SIMCLOUD_MODEL_CONTAINER_"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(prefix)}
        given = {prefix + key: value for key, value in (environment or {}).items()}
        self._environment = {**kept, **given}
        self._deadline_s = start_timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="model-server-")
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def __enter__(self) -> ModelServer:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def url(self) -> str:
        """Base URL; what a SageMaker runtime client takes as its endpoint_url."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def port_file(self) -> Path:
        """The file in which the server tells its port."""
        return Path(self._folder.name) / "port"

    @property
    def process(self) -> subprocess.Popen[str]:
        """The child process."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process

    def log(self) -> str:
        """What the server wrote to standard error so far."""
        return (Path(self._folder.name) / "stderr").read_text()

    def ping(self) -> int:
        """The status of /ping; 0 when nothing listens."""
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def metric(self, name: str) -> float:
        """The value of a metric, with its labels as Prometheus writes them; 0 before it exists."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        values = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return next((float(value) for key, _, value in values if key == name), 0.0)

    def runtime_client(
        self, *, access_key: str = "key", secret_key: str = "secret", token: str | None = None
    ) -> Any:
        """An unmodified boto3 sagemaker-runtime client of this server."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "sagemaker-runtime",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout_s: float = 30.0) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def _start(self) -> None:
        command = [sys.executable, "-m", "simcloud_model_container", "serve"]
        options = ["--host", "127.0.0.1", "--port", "0", "--port-file", str(self.port_file)]
        with (Path(self._folder.name) / "stderr").open("w") as stderr:
            self._process = subprocess.Popen(
                [*command, *options],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        # The server announces its port as its first line; a server that fails closes the pipe.
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait(5)
            raise RuntimeError(f"the model server ended with {code}: {self.log()}")
        self.port = int(json.loads(line)["port"])
        ends_s = time.monotonic() + self._deadline_s
        while self.ping() != 200:
            if self._process.poll() is not None or time.monotonic() > ends_s:
                raise RuntimeError(f"the model server did not become ready: {self.log()}")
            _POLL.wait(0.02)

    def _end(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
                try:
                    self._process.wait(10)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
        self._folder.cleanup()
