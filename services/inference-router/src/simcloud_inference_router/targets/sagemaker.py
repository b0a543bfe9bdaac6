"""A SageMaker endpoint, or anything that speaks its runtime protocol."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from yarl import URL

from simcloud.clock import Clock
from simcloud.errors import Unauthenticated
from simcloud_inference_router.catalog import TargetEntry
from simcloud_inference_router.targets.addressing import (
    SESSION_HEADER,
    TARGET_MODEL_HEADER,
    host_header,
    path_of,
    selection,
)
from simcloud_inference_router.targets.base import Failure, Invocation, TargetAnswer
from simcloud_inference_router.targets.credentials import CredentialSource
from simcloud_inference_router.targets.errors import (
    out_of_time,
    read_error,
    sagemaker_failure,
    wire_text,
)
from simcloud_inference_router.targets.http_pool import HttpAnswer, HttpPool
from simcloud_inference_router.targets.sigv4 import Credentials, SigV4Signer, sha256_hex

MAX_ATTRIBUTES = 1024
"""Characters of CustomAttributes (InvokeEndpoint's model)."""

HASH_IN_THREAD_BYTES = 256 * 1024
"""Bodies from here on are hashed in a thread (hashlib lets others run): 0.5 ms of a core for each
MiB, during which the event loop would answer nobody."""

INFERENCE_ID = re.compile(r"[\x21-\x7e]{1,64}")
"""What InferenceId may be; the runtime also takes blanks, which a log can't show."""


class SageMakerTarget:
    """One endpoint, with its variant, inference component or target model; or AWS's own router.

    Args:
        entry: the catalogue's description.
        base_url: scheme and authority of the runtime, without a trailing slash.
        region: region that is signed for.
        pool: connections.
        credentials: whose requests these are.
        clock: time for the signature.
    """

    def __init__(
        self,
        entry: TargetEntry,
        *,
        base_url: str,
        region: str,
        pool: HttpPool,
        credentials: CredentialSource,
        clock: Clock,
    ) -> None:
        self._name = entry.name
        self._path = path_of(entry)
        self._url = URL(base_url + self._path, encoded=True)
        self._pool = pool
        self._credentials = credentials
        self._signer = SigV4Signer(region=region)
        self._clock = clock
        self._headers = {"host": host_header(self._url), **selection(entry)}

    @property
    def name(self) -> str:
        """Name in the catalogue."""
        return self._name

    async def invoke(self, invocation: Invocation, *, timeout_s: float) -> TargetAnswer | Failure:
        """Asks once; once more when the credentials were refused and others may be had."""
        deadline = self._clock.monotonic() + timeout_s
        headers = self._unsigned(invocation)
        body = invocation.body
        if len(body) < HASH_IN_THREAD_BYTES:
            body_sha256 = sha256_hex(body)
        else:
            body_sha256 = await asyncio.to_thread(sha256_hex, body)
        outcome, used = await self._send(body, headers, body_sha256, deadline)
        if (
            isinstance(outcome, Failure)
            and outcome.refresh
            and used is not None
            and await self._credentials.renew(used)
        ):
            outcome, _ = await self._send(body, headers, body_sha256, deadline)
        return outcome

    async def _send(
        self, body: bytes, headers: Mapping[str, str], body_sha256: str, deadline: float
    ) -> tuple[TargetAnswer | Failure, Credentials | None]:
        credentials = self._credentials.known()
        if credentials is None:
            try:
                async with asyncio.timeout(deadline - self._clock.monotonic()):
                    credentials = await self._credentials.current()
            except Unauthenticated as exc:
                return Failure(exc), None
            except TimeoutError:
                return out_of_time(self._name), None
        left_s = deadline - self._clock.monotonic()
        if left_s <= 0:
            return out_of_time(self._name), None
        signature = self._signer.sign(
            credentials=credentials,
            method="POST",
            path=self._path,
            headers=headers,
            body_sha256=body_sha256,
            now_s=self._clock.time(),
        )
        answer = await self._pool.post(
            target=self._name,
            url=self._url,
            headers={**headers, **signature},
            body=body,
            timeout_s=left_s,
        )
        return self._read(answer), credentials

    def _read(self, answer: HttpAnswer | Failure) -> TargetAnswer | Failure:
        if isinstance(answer, Failure):
            return answer
        if answer.status == 200:
            return read_answer(answer)
        wire = read_error(self._name, answer.status, answer.headers, answer.body)
        return sagemaker_failure(wire)

    def _unsigned(self, invocation: Invocation) -> dict[str, str]:
        headers = dict(self._headers)
        headers["content-type"] = invocation.content_type
        if invocation.accept:
            headers["accept"] = invocation.accept
        if INFERENCE_ID.fullmatch(invocation.request_id):
            headers["x-amzn-sagemaker-inference-id"] = invocation.request_id
        if attributes := custom_attributes(invocation):
            headers["x-amzn-sagemaker-custom-attributes"] = attributes
        if invocation.session_id:
            headers[SESSION_HEADER] = invocation.session_id
        if invocation.target_model:
            headers[TARGET_MODEL_HEADER] = invocation.target_model
        return headers


def read_answer(answer: HttpAnswer) -> TargetAnswer:
    """The answer of an invocation that succeeded."""
    headers = answer.headers
    variant = headers.get("x-amzn-invoked-production-variant", "")
    if not variant:
        # AWS's own router says whom it asked, as an ARN: account and region are not for callers.
        variant = headers.get("x-amzn-sagemaker-invoked-routed-resource-arn", "").rpartition("/")[2]
    # The id, then when it expires: "<id>; Expires=<ISO 8601>".
    session = headers.get("x-amzn-sagemaker-new-session-id", "").partition(";")[0].strip()
    return TargetAnswer(
        body=answer.body,
        content_type=wire_text(headers.get("content-type", "")),
        variant=wire_text(variant),
        session=wire_text(session),
        closed_session=wire_text(headers.get("x-amzn-sagemaker-closed-session-id", "")),
        attributes=wire_text(headers.get("x-amzn-sagemaker-custom-attributes", "")),
    )


def custom_attributes(invocation: Invocation) -> str:
    """``name=value`` pairs joined by commas, within the runtime's limits.

    A pair that would pass the limit, or isn't visible ASCII, is left out whole: half a trace
    context is worse than none.
    """
    pairs: list[str] = []
    size = -1
    for name, value in invocation.attributes:
        pair = f"{name}={value}"
        if not (pair.isascii() and pair.isprintable()) or size + 1 + len(pair) > MAX_ATTRIBUTES:
            continue
        size += 1 + len(pair)
        pairs.append(pair)
    return ",".join(pairs)
