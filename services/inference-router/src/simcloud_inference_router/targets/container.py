"""A model container asked without SageMaker in between: plain HTTP, no signature."""

from __future__ import annotations

from yarl import URL

from simcloud_inference_router.catalog import TargetEntry
from simcloud_inference_router.targets.base import Failure, Invocation, TargetAnswer
from simcloud_inference_router.targets.errors import container_failure, read_error, wire_text
from simcloud_inference_router.targets.invocation_headers import (
    ACCEPT,
    CUSTOM_ATTRIBUTES,
    custom_attributes,
)
from simcloud_inference_router.targets.target_pool import TargetPool


class ContainerTarget:
    """One container's ``POST /invocations``.

    Args:
        entry: the catalogue's description; its ``url`` is the container's base.
        pool: connections.
    """

    def __init__(self, entry: TargetEntry, *, pool: TargetPool) -> None:
        self._name = entry.name
        self._url = URL(entry.url.rstrip("/") + "/invocations", encoded=True)
        self._pool = pool

    @property
    def name(self) -> str:
        """Name in the catalogue."""
        return self._name

    async def invoke(self, invocation: Invocation, *, timeout_s: float) -> TargetAnswer | Failure:
        """Asks once."""
        headers = {"content-type": invocation.content_type}
        if invocation.accept:
            headers[ACCEPT] = invocation.accept
        if attributes := custom_attributes(invocation):
            headers[CUSTOM_ATTRIBUTES] = attributes
        answer = await self._pool.post(
            target=self._name,
            url=self._url,
            headers=headers,
            body=invocation.body,
            timeout_s=timeout_s,
        )
        if isinstance(answer, Failure):
            return answer
        if answer.status == 200:
            get = answer.headers.get
            return TargetAnswer(
                answer.body,
                wire_text(get("content-type", "")),
                attributes=wire_text(get(CUSTOM_ATTRIBUTES, "")),
            )
        return container_failure(read_error(self._name, answer.status, answer.headers, answer.body))
