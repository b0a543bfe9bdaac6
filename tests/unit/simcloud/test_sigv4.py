from __future__ import annotations

import re
from datetime import UTC, datetime
from unittest.mock import patch

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.aws.sigv4 import Credentials, SigV4Signer, sha256_hex

NAMES = st.from_regex(r"x-amzn-sagemaker-[a-z]{1,12}", fullmatch=True)
# What may stand in a header: printable ASCII, runs of blanks included.
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
SECRETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
PATHS = st.from_regex(r"/endpoints/[A-Za-z0-9-]{1,20}(%20|%2F|~|_)?/invocations", fullmatch=True)


def botocore_headers(
    *,
    credentials: Credentials,
    region: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    at: datetime,
) -> dict[str, str]:
    request = botocore.awsrequest.AWSRequest(
        method="POST",
        url=f"https://{headers['host']}{path}",
        headers={name: value for name, value in headers.items() if name != "host"},
        data=body,
    )
    signer = botocore.auth.SigV4Auth(
        botocore.credentials.Credentials(
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token or None,
        ),
        "sagemaker",
        region,
    )
    with patch("botocore.auth.get_current_datetime", return_value=at.replace(tzinfo=None)):
        signer.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@settings(max_examples=200, deadline=None)
@given(
    secret=SECRETS,
    token=st.one_of(st.just(""), SECRETS),
    region=st.sampled_from(["us-east-1", "eu-central-1", "ap-southeast-4"]),
    path=PATHS,
    extra=st.dictionaries(NAMES, VALUES, max_size=4),
    body=st.binary(max_size=200),
    at=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
)
def test_signatures_equal_botocores_on_random_requests(
    secret: str,
    token: str,
    region: str,
    path: str,
    extra: dict[str, str],
    body: bytes,
    at: datetime,
) -> None:
    at = at.replace(tzinfo=UTC, microsecond=0)
    credentials = Credentials("AKIDEXAMPLE", secret, token)
    headers = {"host": "runtime.sagemaker.example.com", "content-type": "image/png", **extra}
    ours = SigV4Signer(region=region, service="sagemaker").sign(
        credentials=credentials,
        method="POST",
        path=path,
        headers=headers,
        body_sha256=sha256_hex(body),
        now_s=at.timestamp(),
    )
    theirs = botocore_headers(
        credentials=credentials, region=region, path=path, headers=headers, body=body, at=at
    )
    assert ours["x-amz-date"] == theirs["x-amz-date"]
    assert ours.get("x-amz-security-token") == theirs.get("x-amz-security-token")
    assert ours["authorization"] == theirs["authorization"]


def test_a_new_day_and_a_new_secret_derive_a_new_key() -> None:
    signer = SigV4Signer(region="us-east-1", service="sagemaker")

    def signature(secret: str, now_s: float) -> str:
        added = signer.sign(
            credentials=Credentials("A", secret),
            method="POST",
            path="/",
            headers={"host": "h"},
            body_sha256=sha256_hex(b""),
            now_s=now_s,
        )
        found = re.search(r"Signature=([0-9a-f]{64})$", added["authorization"])
        assert found is not None
        return found[1]

    day = 86_400.0
    first = signature("one", 100 * day)
    assert signature("one", 101 * day) != first
    assert signature("two", 100 * day) != first
    assert signature("one", 100 * day) == first


def test_credentials_do_not_show_their_secret() -> None:
    shown = repr(Credentials("AKID", "very-secret", "token"))
    assert "very-secret" not in shown
    assert "token" not in shown
