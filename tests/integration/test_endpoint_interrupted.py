"""A real `simcloud endpoint deploy`, over HTTP, whose wait is broken off: what it began goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from simcloud_cli.exit_codes import ExitCode
from support.aws_stubs import REGION, arn
from support.eventually import eventually
from support.http_site import http_site

ANSWERS: dict[str, dict[str, object]] = {
    "ListEndpointConfigs": {"EndpointConfigs": []},
    "CreateModel": {"ModelArn": arn("model/x")},
    "CreateEndpointConfig": {"EndpointConfigArn": arn("endpoint-config/x")},
    "CreateEndpoint": {"EndpointArn": arn("endpoint/detector")},
}


class Account:
    """An account of SageMaker's in which every endpoint is being created for ever."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._config = ""

    async def answer(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].removeprefix("SageMaker.")
        parameters = json.loads(await request.read())
        self.asked.append(operation)
        if operation in ANSWERS:
            self._config = parameters.get("EndpointConfigName", self._config)
            return self._json(ANSWERS[operation])
        if operation == "DescribeEndpoint" and "CreateEndpoint" in self.asked:
            seen = {
                "EndpointName": "detector",
                "EndpointArn": arn("endpoint/detector"),
                "EndpointConfigName": self._config,
                "EndpointStatus": "Creating",
                "CreationTime": 1_750_000_000.0,
                "LastModifiedTime": 1_750_000_000.0,
            }
            return self._json(seen)
        missing = {"__type": "ValidationException", "message": 'Could not find "arn:aws:x".'}
        return self._json(missing, status=400)

    def _json(self, content: object, status: int = 200) -> web.Response:
        return web.Response(
            body=json.dumps(content), status=status, content_type="application/x-amz-json-1.1"
        )


async def test_ctrl_c_ends_the_wait_and_says_what_goes_on(tmp_path: Path) -> None:
    account = Account()
    options = ["--kind", "serverless", "--image", "image:1", "--region", REGION]
    options += ["--role", "arn:aws:iam::123456789012:role/endpoints"]
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "SIMCLOUD_CONFIG": str(tmp_path / "config.yaml"),
    }
    async with http_site(account.answer) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "simcloud_cli", "endpoint", "deploy", "detector"),
            *(*options, "--aws-endpoint-url", url),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await eventually(lambda: account.asked[-2:] == ["CreateEndpoint", "DescribeEndpoint"])
        process.send_signal(signal.SIGINT)
        _, said = await process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED, said.decode()
    assert "goes on in AWS" in said.decode()
    assert "simcloud endpoint delete detector" in said.decode()
    assert account.asked.count("CreateEndpoint") == 1
