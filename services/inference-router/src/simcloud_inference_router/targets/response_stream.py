"""A SageMaker endpoint that answers in parts (InvokeEndpointWithResponseStream)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import aiohttp
from yarl import URL

from simcloud.aws.credentials import CredentialSource
from simcloud.clock import Clock
from simcloud_inference_router.target_entry import TargetEntry
from simcloud_inference_router.targets.addressing import host_header, path_of, selection
from simcloud_inference_router.targets.base import Failure, Invocation, TakePart, TargetAnswer
from simcloud_inference_router.targets.errors import (
    bad_answer,
    read_error,
    sagemaker_failure,
    stream_failure,
    wire_text,
)
from simcloud_inference_router.targets.event_stream import (
    Event,
    EventStreamDecoder,
    MalformedStream,
)
from simcloud_inference_router.targets.invocation_headers import (
    CUSTOM_ATTRIBUTES,
    SAGEMAKER_ACCEPT,
    add_invocation_headers,
)
from simcloud_inference_router.targets.signing import RequestSigner
from simcloud_inference_router.targets.stream_pool import ERROR_BYTES, StreamPool, read_up_to


class ResponseStreamTarget:
    """One streaming endpoint.

    Without ``Invocation.on_part`` the parts are joined into one answer. With it each part, or each
    line of their text, is given out as it comes, and the next is read once it was taken.

    Args:
        entry: the catalogue's description.
        base_url: scheme and authority of the runtime, without a trailing slash.
        region: region that is signed for.
        streams: connections.
        credentials: whose requests these are.
        clock: time for the signature.
        max_answer_bytes: largest answer, or largest part of one.
    """

    def __init__(
        self,
        entry: TargetEntry,
        *,
        base_url: str,
        region: str,
        streams: StreamPool,
        credentials: CredentialSource,
        clock: Clock,
        max_answer_bytes: int,
    ) -> None:
        self._entry = entry
        path = path_of(entry)
        self._url = URL(base_url + path, encoded=True)
        self._streams = streams
        self._signer = RequestSigner(
            name=entry.name, path=path, region=region, credentials=credentials, clock=clock
        )
        self._clock = clock
        self._headers = {"host": host_header(self._url), **selection(entry)}
        self._max_answer_bytes = max_answer_bytes

    @property
    def name(self) -> str:
        """Name in the catalogue."""
        return self._entry.name

    async def invoke(self, invocation: Invocation, *, timeout_s: float) -> TargetAnswer | Failure:
        """Asks once; once more when the credentials were refused and others may be had."""

        async def post(headers: Mapping[str, str], left_s: float) -> TargetAnswer | Failure:
            return await self._send(invocation, headers, left_s)

        deadline = self._clock.monotonic() + timeout_s
        return await self._signer.send(
            self._unsigned(invocation), invocation.body, deadline=deadline, post=post
        )

    async def _send(
        self, invocation: Invocation, headers: Mapping[str, str], timeout_s: float
    ) -> TargetAnswer | Failure:
        async def read(response: aiohttp.ClientResponse) -> TargetAnswer | Failure:
            if response.status != 200:
                body = await read_up_to(response, ERROR_BYTES)
                return sagemaker_failure(
                    read_error(self.name, response.status, response.headers, body)
                )
            try:
                return await self._read_parts(response, invocation.on_part)
            except MalformedStream as exc:
                return Failure(bad_answer(self.name, str(exc)))

        return await self._streams.post(
            target=self.name,
            url=self._url,
            headers=headers,
            body=invocation.body,
            timeout_s=timeout_s,
            read=read,
        )

    async def _read_parts(
        self, response: aiohttp.ClientResponse, on_part: TakePart | None
    ) -> TargetAnswer | Failure:
        decoder = EventStreamDecoder(max_payload_bytes=self._max_answer_bytes)
        head = _head_of(response)
        parts = PartJoiner(
            by_line=on_part is not None and self._entry.part_framing == "lines",
            whole=on_part is None,
            max_bytes=self._max_answer_bytes,
        )
        async for piece in response.content.iter_any():
            for event in decoder.feed(piece):
                if (failure := self._failure_in(event)) is not None:
                    return failure
                for part in parts.add(event.payload):
                    assert on_part is not None, "only a joiner of parts gives any"
                    await on_part(replace(head, body=part))
        decoder.finish()
        rest = parts.finish()
        if on_part is None:
            return replace(head, body=rest)
        if rest:
            await on_part(replace(head, body=rest))
        return head

    def _failure_in(self, event: Event) -> Failure | None:
        kind = event.headers.get(":message-type", "event")
        if kind == "event":
            name = event.headers.get(":event-type", "")
            if name != "PayloadPart":
                raise MalformedStream(f"expected an event PayloadPart, found {name!r}")
            return None
        code = event.headers.get(":exception-type") or event.headers.get(":error-code", "")
        fields = _json_object(event.payload)
        message = fields.get("Message") or event.headers.get(":error-message", "")
        return stream_failure(
            self.name,
            code=wire_text(code),
            error_code=wire_text(str(fields.get("ErrorCode", ""))),
            message=wire_text(str(message)),
        )

    def _unsigned(self, invocation: Invocation) -> dict[str, str]:
        headers = {**self._headers, "content-type": invocation.content_type}
        add_invocation_headers(headers, invocation, accept=SAGEMAKER_ACCEPT)
        return headers


class PartJoiner:
    """Payloads of a stream put together into what one answer is; pure.

    Args:
        by_line: an answer is a line, without its end; empty ones are none.
        whole: there is one answer, at the end.
        max_bytes: largest answer.
    """

    def __init__(self, *, by_line: bool, whole: bool, max_bytes: int) -> None:
        self._by_line = by_line
        self._whole = whole
        self._max_bytes = max_bytes
        self._rest = bytearray()

    def add(self, payload: bytes) -> list[bytes]:
        """Takes a payload; gives the answers that are whole now.

        Raises:
            MalformedStream: an answer is larger than ``max_bytes``.
        """
        if not self._by_line and not self._whole:
            return [payload] if payload else []
        if len(self._rest) + len(payload) > self._max_bytes:
            raise MalformedStream(f"answer is larger than {self._max_bytes} bytes")
        self._rest += payload
        if self._whole or b"\n" not in payload:
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return [line for line in (each.rstrip(b"\r") for each in lines) if line]

    def finish(self) -> bytes:
        """What is left at the end."""
        return bytes(self._rest.rstrip(b"\r\n") if self._by_line else self._rest)


def _head_of(response: aiohttp.ClientResponse) -> TargetAnswer:
    headers = response.headers
    return TargetAnswer(
        body=b"",
        content_type=wire_text(headers.get("x-amzn-sagemaker-content-type", "")),
        variant=wire_text(headers.get("x-amzn-invoked-production-variant", "")),
        attributes=wire_text(headers.get(CUSTOM_ATTRIBUTES, "")),
    )


def _json_object(payload: bytes) -> dict[str, object]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
