"""Roles as people have them: an upload that outlives its keys goes on with the chain's new ones."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from botocore.credentials import SSOProvider
from pydantic import SecretStr

from simcloud.dataset.layout import RunLocation
from simcloud.s3.faults import Fault, FaultKind, plan_of
from simcloud.spec.plan import Plan
from simcloud_uploader.settings import UploaderSettings
from support.dataset_frames import SPEC
from support.eventually import eventually
from support.http_site import http_site
from support.s3_proxy import running_proxy
from support.s3_server import S3Server
from support.uploading import frame_of, send_shard, small_settings, uploader_client

PLAN = Plan(frames=5, frames_per_shard=5)
"""Two parts and a rest."""
OLD, NEW = "OLD-KEY", "NEW-KEY"
"""Access keys, and the tokens that get them."""
START = "https://example.awsapps.com/start"


@dataclass(frozen=True, slots=True)
class Role:
    """One way to come by a role's keys: what the environment says, and who answers with what."""

    environment: Callable[[str, Path], dict[str, str]]
    """Variables, by the site's URL and the token's file."""
    token_file: Callable[[str], str]
    """The file's text for a token."""
    presented: Callable[[web.Request, str], str]
    """The token of a request, given its body."""
    answer: Callable[[str, datetime], str]
    """The answer that gives a key until then."""


def web_identity(key: str, until: datetime) -> str:
    return (
        '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{key}</AccessKeyId>"
        f"<SecretAccessKey>s</SecretAccessKey><SessionToken>of {key}</SessionToken>"
        f"<Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
        "<AssumedRoleUser><AssumedRoleId>r:s</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/r/s"
        "</Arn></AssumedRoleUser></AssumeRoleWithWebIdentityResult>"
        "</AssumeRoleWithWebIdentityResponse>"
    )


def pod_identity(key: str, until: datetime) -> str:
    document = {"AccessKeyId": key, "SecretAccessKey": "s", "Token": f"of {key}"}
    return json.dumps({**document, "Expiration": f"{until:%Y-%m-%dT%H:%M:%SZ}"})


def sso(key: str, until: datetime) -> str:
    keys = {"accessKeyId": key, "secretAccessKey": "s", "sessionToken": f"of {key}"}
    return json.dumps({"roleCredentials": {**keys, "expiration": int(until.timestamp() * 1000)}})


def sso_profile(url: str, token: Path) -> dict[str, str]:
    config = token.with_name("config")
    config.write_text(
        f"[default]\nsso_start_url = {START}\nsso_region = us-east-1\n"
        "sso_account_id = 123456789012\nsso_role_name = renders\n"
    )
    return {"AWS_CONFIG_FILE": str(config), "AWS_ENDPOINT_URL_SSO": url}


ROLES = {
    "IRSA": Role(
        environment=lambda url, token: {
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/renders",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ENDPOINT_URL_STS": url,
        },
        token_file=lambda token: token,
        presented=lambda _, body: body.partition("WebIdentityToken=")[2].partition("&")[0],
        answer=web_identity,
    ),
    "EKS Pod Identity": Role(
        environment=lambda url, token: {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        },
        token_file=lambda token: token,
        presented=lambda request, _: request.headers["Authorization"],
        answer=pod_identity,
    ),
    "SSO": Role(
        environment=sso_profile,
        token_file=lambda token: json.dumps(
            {"startUrl": START, "accessToken": token, "expiresAt": "2099-01-01T00:00:00Z"}
        ),
        presented=lambda request, _: request.headers["x-amz-sso_bearer_token"],
        answer=sso,
    ),
}


@pytest.mark.parametrize("name", ROLES)
async def test_an_upload_goes_on_with_the_new_keys_of_its_role(
    name: str,
    s3_server: S3Server,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old keys end in the middle of it; the token that gets new ones was renewed meanwhile."""
    role = ROLES[name]
    token = tmp_path / f"{hashlib.sha1(START.encode()).hexdigest()}.json"  # as SSO's cache calls it
    token.write_text(role.token_file(OLD))
    location = RunLocation(bucket=bucket, prefix="roles", run="run")
    given: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        key = role.presented(request, await request.text())
        given.append(key)
        # soon over, so that the SDK asks again before each request, until it has the new one
        lasts = timedelta(minutes=1) if key == OLD else timedelta(hours=1)
        return web.Response(text=role.answer(key, datetime.now(UTC) + lasts))

    gate = Fault("upload_part", FaultKind.GATE, after=1)
    async with (
        http_site(answer) as url,
        running_proxy(s3_server.settings, plan=plan_of(gate)) as proxy,
    ):
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path))
        nowhere = str(tmp_path / "none")
        files = {"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere}
        for variable, value in {**files, **role.environment(url, token)}.items():
            monkeypatch.setenv(variable, value)
        proxy.signs_anew = True
        chain = proxy.settings.model_copy(
            update={"access_key_id": "", "secret_access_key": SecretStr("")}
        )
        async with asyncio.TaskGroup() as tasks:
            uploaded = tasks.create_task(upload(small_settings(chain), location))
            await gate.reached.wait()
            proxy.expired_key = OLD
            gate.gate.set()
            await eventually(lambda: proxy.refused > 0, what="a request with the old key")
            token.write_text(role.token_file(NEW))
    assert uploaded.result() == 10
    assert set(given) == {OLD, NEW}


async def upload(settings: UploaderSettings, location: RunLocation) -> int:
    """Frames that were stored and published."""
    async with uploader_client(settings) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        await send_shard(
            client,
            location,
            PLAN.shard(0),
            make=lambda frame, camera: frame_of(frame, camera, plan=PLAN),
        )
        return (await client.publish_run(location)).summary.stored_frames
