from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from simcloud_model_container.errors import SignatureRefused
from simcloud_model_container.settings import SigningSettings
from simcloud_model_container.sigv4 import SignedRequest, verify_signature

SETTINGS = SigningSettings(access_key_id="AKID", secret_access_key="shh")


def now() -> datetime:
    """Botocore signs with the real time, so it is checked at the real time."""
    return datetime.now(UTC)


def signed_by_botocore(
    *,
    url: str = "http://127.0.0.1:8080/endpoints/a-b/invocations",
    token: str | None = None,
    service: str = "sagemaker",
) -> SignedRequest:
    request = AWSRequest("POST", url, {"Content-Type": "image/png", "X-Odd": " a   b "}, b"body")
    SigV4Auth(Credentials("AKID", "shh", token), service, "eu-west-1").add_auth(request)
    prepared = request.prepare()
    path, _, query = prepared.url.removeprefix("http://127.0.0.1:8080").partition("?")
    headers = {name.lower(): _text(value) for name, value in prepared.headers.items()}
    return SignedRequest("POST", path, query, {"host": "127.0.0.1:8080", **headers}, b"body")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    "path",
    ["/endpoints/a-b/invocations", "/a%20b/~c", "/a/../b//c/", "/x?b=2&a=1&a=0&c", "/"],
)
def test_what_botocore_signs_holds(path: str) -> None:
    request = signed_by_botocore(url=f"http://127.0.0.1:8080{path}")
    verify_signature(request, SETTINGS, now=now())


def test_a_session_token_is_demanded_when_set() -> None:
    with_token = replace(SETTINGS, session_token="tok")
    verify_signature(signed_by_botocore(token="tok"), with_token, now=now())
    for token in (None, "other"):
        with pytest.raises(SignatureRefused, match="security token") as refused:
            verify_signature(signed_by_botocore(token=token), with_token, now=now())
        assert refused.value.code == "UnrecognizedClientException"


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"path": "/endpoints/other/invocations"},
        {"query": "a=1"},
        {"body": b"other"},
    ],
)
def test_a_changed_request_does_not_hold(change: dict[str, str]) -> None:
    request = replace(signed_by_botocore(), **change)  # type: ignore[arg-type]
    with pytest.raises(SignatureRefused, match="does not match"):
        verify_signature(request, SETTINGS, now=now())


def test_another_secret_does_not_hold() -> None:
    other = replace(SETTINGS, secret_access_key="other")
    with pytest.raises(SignatureRefused, match="does not match"):
        verify_signature(signed_by_botocore(), other, now=now())


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_stale_signature_is_refused(minutes: int) -> None:
    with pytest.raises(SignatureRefused, match="expired"):
        verify_signature(signed_by_botocore(), SETTINGS, now=now() + timedelta(minutes=minutes))


def test_another_service_s_signature_is_refused() -> None:
    with pytest.raises(SignatureRefused, match="expected service sagemaker, found s3"):
        verify_signature(signed_by_botocore(service="s3"), SETTINGS, now=now())


@pytest.mark.parametrize("authorization", ["", "Basic abc", "AWS4-HMAC-SHA256 Credential=a"])
def test_a_request_without_signature_is_refused(authorization: str) -> None:
    request = signed_by_botocore()
    headers = {**request.headers, "authorization": authorization}
    with pytest.raises(SignatureRefused) as refused:
        verify_signature(replace(request, headers=headers), SETTINGS, now=now())
    assert refused.value.code == "MissingAuthenticationTokenException"
