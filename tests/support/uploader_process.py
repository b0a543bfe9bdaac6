"""An uploader as a process of its own, to be killed and started again where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.eventually import eventually
from support.kill_services import free_port
from support.s3_server import S3Server
from support.uploading import PART_BYTES


class UploaderProcess:
    """``python -m simcloud_uploader`` on a port that stays the same over restarts."""

    def __init__(self, folder: Path, s3: S3Server, flags: Mapping[str, str]) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._s3 = s3
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        port_file = self._folder / "port.json"
        port_file.unlink(missing_ok=True)
        self._spawn(port_file)
        await eventually(port_file.exists, within_s=60, what="the uploader listens")
        assert json.loads(port_file.read_text())["grpc"]

    def _spawn(self, port_file: Path) -> None:
        s3 = self._s3.settings
        environment = {
            **os.environ,
            "SIMCLOUD_UPLOADER_S3__ENDPOINT_URL": s3.endpoint_url,
            "SIMCLOUD_UPLOADER_S3__ACCESS_KEY_ID": s3.access_key_id,
            "SIMCLOUD_UPLOADER_S3__SECRET_ACCESS_KEY": s3.secret_access_key.get_secret_value(),
            "SIMCLOUD_UPLOADER_S3__PATH_STYLE": "true",
        }
        flags = {
            "--listen": self.address,
            "--port-file": str(port_file),
            "--part-size-bytes": str(PART_BYTES),
            "--stale-after-s": "1.5",
            **self._flags,
        }
        with (self._folder / "uploader.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "simcloud_uploader"),
                    *(text for pair in flags.items() for text in pair),
                ],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def send_signal(self, number: signal.Signals) -> int:
        """Sends a signal and waits for the end; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        status = self._process.wait(30)
        self._process = None
        return status

    @property
    def pid(self) -> int:
        """Its process id while it runs."""
        assert self._process is not None
        return self._process.pid

    def close(self) -> None:
        if self._process is not None:
            self.send_signal(signal.SIGKILL)


@contextmanager
def uploader_process(
    folder: Path, s3: S3Server, flags: Mapping[str, str] | None = None
) -> Iterator[UploaderProcess]:
    """An uploader that is killed at the end; ``flags`` go to its command line."""
    process = UploaderProcess(folder, s3, flags or {})
    try:
        yield process
    finally:
        process.close()
