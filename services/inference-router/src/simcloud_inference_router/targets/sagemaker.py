"""A SageMaker endpoint, or anything that speaks its runtime protocol."""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from simcloud.aws.credentials import CredentialSource
from simcloud.clock import Clock
from simcloud.http.pool import HttpAnswer
from simcloud_inference_router.catalog import TargetEntry
from simcloud_inference_router.targets.addressing import (
    SESSION_HEADER,
    TARGET_MODEL_HEADER,
    host_header,
    path_of,
    selection,
)
from simcloud_inference_router.targets.base import Failure, Invocation, TargetAnswer
from simcloud_inference_router.targets.errors import read_error, sagemaker_failure, wire_text
from simcloud_inference_router.targets.invocation_headers import (
    ACCEPT,
    CUSTOM_ATTRIBUTES,
    add_invocation_headers,
)
from simcloud_inference_router.targets.signing import RequestSigner
from simcloud_inference_router.targets.target_pool import TargetPool


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
        pool: TargetPool,
        credentials: CredentialSource,
        clock: Clock,
    ) -> None:
        self._name = entry.name
        path = path_of(entry)
        url = URL(base_url + path, encoded=True)
        self._pool = pool
        self._address = pool.address(url)
        self._signer = RequestSigner(
            name=entry.name, path=path, region=region, credentials=credentials, clock=clock
        )
        self._clock = clock
        self._headers = {"host": host_header(url), **selection(entry)}

    @property
    def name(self) -> str:
        """Name in the catalogue."""
        return self._name

    async def invoke(self, invocation: Invocation, *, timeout_s: float) -> TargetAnswer | Failure:
        """Asks once; once more when the credentials were refused and others may be had."""
        body, headers = invocation.body, self._unsigned(invocation)
        begun = self._clock.monotonic()
        at_once = self._signer.signed_at_once(headers, body)
        if at_once is not None:
            signed, used = at_once
            answer = await self._pool.send(
                self._address, target=self._name, headers=signed, body=body, timeout_s=timeout_s
            )
            outcome = self._read(answer)
            if (
                not isinstance(outcome, Failure)
                or not outcome.refresh
                or not await self._signer.renewed(used)
            ):
                return outcome

        async def post(headers: Mapping[str, str], left_s: float) -> TargetAnswer | Failure:
            answer = await self._pool.send(
                self._address, target=self._name, headers=headers, body=body, timeout_s=left_s
            )
            return self._read(answer)

        return await self._signer.send(
            headers, body, deadline=begun + timeout_s, post=post, renews=at_once is None
        )

    def _read(self, answer: HttpAnswer | Failure) -> TargetAnswer | Failure:
        if isinstance(answer, Failure):
            return answer
        if answer.status == 200:
            return read_answer(answer)
        wire = read_error(self._name, answer.status, answer.headers, answer.body)
        return sagemaker_failure(wire)

    def _unsigned(self, invocation: Invocation) -> dict[str, str]:
        headers = {**self._headers, "content-type": invocation.content_type}
        add_invocation_headers(headers, invocation, accept=ACCEPT)
        if invocation.session_id:
            headers[SESSION_HEADER] = invocation.session_id
        if invocation.target_model:
            headers[TARGET_MODEL_HEADER] = invocation.target_model
        return headers


def read_answer(answer: HttpAnswer) -> TargetAnswer:
    """The answer of an invocation that succeeded."""
    get = answer.headers.get
    variant = get("x-amzn-invoked-production-variant", "")
    if not variant and (arn := get("x-amzn-sagemaker-invoked-routed-resource-arn")):
        # AWS's own router says whom it asked, as an ARN: account and region are not for callers.
        variant = arn.rpartition("/")[2]
    session = get("x-amzn-sagemaker-new-session-id", "")
    if session:
        # The id, then when it expires: "<id>; Expires=<ISO 8601>".
        session = wire_text(session.partition(";")[0].strip())
    closed_session = get("x-amzn-sagemaker-closed-session-id", "")
    attributes = get(CUSTOM_ATTRIBUTES, "")
    return TargetAnswer(
        answer.body,
        wire_text(get("content-type", "")),
        wire_text(variant),
        session,
        wire_text(closed_session) if closed_session else "",
        wire_text(attributes) if attributes else "",
    )
