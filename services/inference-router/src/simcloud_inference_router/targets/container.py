"""A model container asked without SageMaker in between: plain HTTP, no signature."""

from __future__ import annotations

from yarl import URL

from simcloud_inference_router.catalog import TargetEntry
from simcloud_inference_router.targets.base import Failure, Invocation, TargetAnswer
from simcloud_inference_router.targets.errors import container_failure, read_error, wire_text
from simcloud_inference_router.targets.invocation_headers import ACCEPT, custom_attributes
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
            headers["x-amzn-sagemaker-custom-attributes"] = attributes
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
            content_type = wire_text(answer.headers.get("content-type", ""))
            return TargetAnswer(answer.body, content_type)
        return container_failure(read_error(self._name, answer.status, answer.headers, answer.body))
