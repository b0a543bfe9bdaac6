"""A real S3 server for tests: the SeaweedFS of `simcloud up`, that can be killed and restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simcloud.errors import NotReady
from simcloud.s3.client import S3Settings
from simcloud_cli.seaweed import SeaweedServer

ACCESS_KEY = "simcloud-test"
SECRET_KEY = "simcloud-test-secret"
# Every test has a bucket of its own and each takes a volume, of which SeaweedFS allows as many as
# the free disk has GiB: beyond that, writes fail with InternalError. A volume is only as large as
# what is in it.
_MANY_BUCKETS = "-volume.max=4000"
_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 10.0


class S3Server:
    """SeaweedFS on a folder of its own.

    Args:
        folder: holds its data and its log.
        write_through: whether every write is on disk before it is answered.
    """

    def __init__(self, folder: Path, *, write_through: bool = False) -> None:
        self._server = SeaweedServer(
            data_dir=folder / "data",
            log_file=folder / "weed.log",
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )
        self._write_through = write_through
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> S3Settings:
        """Settings of a client of it."""
        return self._server.settings

    @property
    def endpoint_url(self) -> str:
        """URL of its S3 API."""
        return self._server.endpoint_url

    @property
    def pid(self) -> int:
        """Its process id while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it, on the same folder and ports each time, and waits until it can be used."""
        assert self._process is None, "it runs"
        self._server.data_dir.mkdir(parents=True, exist_ok=True)
        with self._server.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._server.argv, _MANY_BUCKETS],
                env={**os.environ, **self._server.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            asyncio.run(self._until_ready())
        except BaseException:
            self.kill()
            raise

    async def start_async(self) -> None:
        """As ``start``, from within an event loop."""
        await asyncio.to_thread(self.start)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None, "it does not run"
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_STOP_WITHIN_S)
        self._process = None

    def pause(self) -> None:
        """Stops it in its tracks: connections stay, no answer comes."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on after ``pause``."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends it; without a process it does nothing.

        SIGTERM would take it 2.3 s to leave in order; nothing here needs its data afterwards.
        """
        if self._process is not None:
            self.kill()

    async def _until_ready(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(_START_WITHIN_S):
            while not await self._server.ready():
                if self._process.poll() is not None:
                    log = self._server.log_file.read_text(errors="replace")
                    raise NotReady(f"weed ended with {self._process.returncode}: {log[-2000:]}")
                await asyncio.sleep(0.02)
        if self._write_through:
            await self._server.write_through()


@contextmanager
def running_s3_server(folder: Path, *, write_through: bool = False) -> Iterator[S3Server]:
    """A server that runs within the block, on a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    server = S3Server(folder, write_through=write_through)
    server.start()
    try:
        yield server
    finally:
        server.stop()
