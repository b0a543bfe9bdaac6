"""A SageMaker endpoint that is asked through S3 and answers there (InvokeEndpointAsync)."""

from __future__ import annotations

import asyncio
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from yarl import URL

from simcloud.aws.credentials import CredentialSource
from simcloud.clock import Clock
from simcloud.errors import NotFound, PermissionDenied, SimcloudError
from simcloud.http.pool import HttpAnswer
from simcloud.s3.errors import NoSuchKey, translating
from simcloud.s3.objects import ObjectStore
from simcloud_inference_router.target_entry import TargetEntry
from simcloud_inference_router.targets.addressing import host_header, path_of
from simcloud_inference_router.targets.async_objects import RequestObjects
from simcloud_inference_router.targets.async_places import (
    S3Location,
    answer_type,
    below,
    location_below,
    pauses,
)
from simcloud_inference_router.targets.base import Failure, Invocation, TargetAnswer
from simcloud_inference_router.targets.errors import (
    bad_answer,
    read_error,
    sagemaker_failure,
    timed_out,
    wire_text,
)
from simcloud_inference_router.targets.invocation_headers import (
    SAGEMAKER_ACCEPT,
    add_invocation_headers,
)
from simcloud_inference_router.targets.signing import RequestSigner
from simcloud_inference_router.targets.target_pool import TargetPool

ERROR_BYTES = 64 * 1024
"""Of a failure's object at most these are read."""

_MIN_TTL_S = 60
"""RequestTTLSeconds is 60 or more (InvokeEndpointAsync's model)."""

_STATUS = re.compile(r"(?:error|status|code)\s*\(?:?\s*(\d{1,3})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A request that the endpoint has taken."""

    output: S3Location
    failure: S3Location | None


class AsyncTarget:
    """One asynchronous endpoint.

    A request that is too large to go inline is written to S3 first and deleted at the end, whatever
    becomes of it: the endpoint then finds nothing of a request that is still queued, so one that
    was cancelled costs no inference. The answer is looked for at growing intervals until the
    deadline.

    Args:
        entry: the catalogue's description.
        base_url: scheme and authority of the runtime, without a trailing slash.
        region: region that is signed for.
        pool: connections to the runtime.
        store: S3, where requests and answers are.
        credentials: whose requests these are.
        clock: time for signatures and deadlines.
        random: jitter of the intervals.
        max_answer_bytes: largest answer that is read.
    """

    def __init__(
        self,
        entry: TargetEntry,
        *,
        base_url: str,
        region: str,
        pool: TargetPool,
        store: ObjectStore,
        credentials: CredentialSource,
        clock: Clock,
        random: Random,
        max_answer_bytes: int,
    ) -> None:
        self._entry = entry
        path = path_of(entry)
        self._url = URL(base_url + path, encoded=True)
        self._pool = pool
        self._store = store
        self._signer = RequestSigner(
            name=entry.name, path=path, region=region, credentials=credentials, clock=clock
        )
        self._clock = clock
        self._random = random
        self._max_answer_bytes = max_answer_bytes

    @property
    def name(self) -> str:
        """Name in the catalogue."""
        return self._entry.name

    async def invoke(self, invocation: Invocation, *, timeout_s: float) -> TargetAnswer | Failure:
        """Asks once, and waits for the answer."""
        deadline = self._clock.monotonic() + timeout_s
        async with RequestObjects(self._store, target=self.name) as objects:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._ask(invocation, objects, deadline)
            except TimeoutError:
                return timed_out(self.name, timeout_s)
            except SimcloudError as exc:
                # What S3 said; its own retries are behind it.
                return Failure(exc)

    async def _ask(
        self, invocation: Invocation, objects: RequestObjects, deadline: float
    ) -> TargetAnswer | Failure:
        stored = None
        if len(invocation.body) > self._entry.inline_bytes:
            stored = below(self._entry.input_prefix, str(uuid.uuid4()))
            content_type = invocation.content_type
            await objects.write(stored, invocation.body, content_type=content_type)
        outcome = await self._submit(invocation, stored, deadline)
        if isinstance(outcome, Failure):
            return outcome
        answer = await self._wait(outcome, accept=invocation.accept)
        if self._entry.delete_output and isinstance(answer, TargetAnswer):
            objects.done_with(outcome.output)
        return answer

    async def _submit(
        self, invocation: Invocation, stored: S3Location | None, deadline: float
    ) -> Submitted | Failure:
        headers = self._unsigned(invocation, stored, deadline)
        body = b"" if stored is not None else invocation.body

        async def post(signed: Mapping[str, str], left_s: float) -> Submitted | Failure:
            answer = await self._pool.post(
                target=self.name, url=self._url, headers=signed, body=body, timeout_s=left_s
            )
            return self._submitted(answer)

        return await self._signer.send(headers, body, deadline=deadline, post=post)

    def _submitted(self, answer: HttpAnswer | Failure) -> Submitted | Failure:
        if isinstance(answer, Failure):
            return answer
        if answer.status not in {200, 202}:
            wire = read_error(self.name, answer.status, answer.headers, answer.body)
            return sagemaker_failure(wire)
        said = answer.headers.get("x-amzn-sagemaker-outputlocation", "")
        output = location_below(said, self._entry.output_prefix)
        if output is None:
            return Failure(self._elsewhere("OutputLocation", said, self._entry.output_prefix))
        said = answer.headers.get("x-amzn-sagemaker-failurelocation", "")
        prefix = self._entry.failure_prefix or self._entry.output_prefix
        failure = location_below(said, prefix)
        if said and failure is None:
            return Failure(self._elsewhere("FailureLocation", said, prefix))
        return Submitted(output, failure)

    def _elsewhere(self, header: str, said: str, prefix: str) -> SimcloudError:
        # Whoever answers must not make us read anything our role can.
        found = wire_text(said)[:128]
        return bad_answer(self.name, f"{header} {found!r} is not below s3://{prefix}/")

    async def _wait(self, submitted: Submitted, *, accept: str) -> TargetAnswer | Failure:
        """The answer, whenever it comes; the deadline is its caller's."""
        for pause_s in pauses(self._entry.poll_min_s, self._entry.poll_max_s, self._random):
            await asyncio.sleep(pause_s)
            if (answer := await self._read_output(submitted.output, accept)) is not None:
                return answer
            if submitted.failure is not None:
                found = await self._read(submitted.failure, limit=ERROR_BYTES, cut=True)
                if found is not None:
                    return self._failed(found[0])
        raise AssertionError("pauses never end")

    async def _read_output(
        self, location: S3Location, accept: str
    ) -> TargetAnswer | Failure | None:
        found = await self._read(location, limit=self._max_answer_bytes, cut=False)
        if found is None:
            return None
        body, content_type = found
        if len(body) > self._max_answer_bytes:
            problem = f"answer is larger than {self._max_answer_bytes} bytes"
            return Failure(bad_answer(self.name, problem))
        return TargetAnswer(body, answer_type(content_type, accept, body))

    async def _read(
        self, location: S3Location, *, limit: int, cut: bool
    ) -> tuple[bytes, str] | None:
        """An object's bytes, at most one more than ``limit``, and its content type; None: not yet.

        Raises:
            PermissionDenied: the role may not read or list there.
            NotFound: there is no such bucket.
        """
        try:
            with translating("GetObject", bucket=location.bucket, key=location.key):
                answer = await self._store.client.get_object(
                    Bucket=location.bucket, Key=location.key
                )
                data = bytearray()
                wanted = limit if cut else limit + 1
                async with answer["Body"] as stream:
                    # A read gives what is there, not all that was asked for.
                    while piece := await stream.read(wanted - len(data)):
                        data += piece
        except NoSuchKey:
            return None
        except PermissionDenied as exc:
            message = (
                f"target {self.name}: s3://{location.bucket}/{location.key} may not be read; the "
                "role needs s3:GetObject there and s3:ListBucket, without which S3 refuses what is "
                "not there yet"
            )
            raise PermissionDenied(message, target=self.name) from exc
        except NotFound:
            raise
        except SimcloudError as exc:
            if not exc.retryable:
                raise
            # The next look is the retry.
            return None
        return bytes(data), answer.get("ContentType", "")

    def _failed(self, body: bytes) -> Failure:
        wire = replace(read_error(self.name, 424, {}, body), code="ModelError")
        if wire.original_status is None and (match := _STATUS.search(wire.message)):
            wire = replace(wire, original_status=int(match[1]))
        return sagemaker_failure(wire)

    def _unsigned(
        self, invocation: Invocation, stored: S3Location | None, deadline: float
    ) -> dict[str, str]:
        left_s = math.ceil(deadline - self._clock.monotonic())
        ttl_s = max(_MIN_TTL_S, min(self._entry.request_ttl_s, left_s))
        headers = {
            "host": host_header(self._url),
            "content-type": "application/octet-stream",
            "x-amzn-sagemaker-content-type": invocation.content_type,
            "x-amzn-sagemaker-requestttlseconds": str(ttl_s),
            "x-amzn-sagemaker-invocationtimeoutseconds": str(self._entry.invocation_timeout_s),
        }
        if stored is not None:
            headers["x-amzn-sagemaker-inputlocation"] = f"s3://{stored.bucket}/{stored.key}"
        add_invocation_headers(headers, invocation, accept=SAGEMAKER_ACCEPT)
        return headers
