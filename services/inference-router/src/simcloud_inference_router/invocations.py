"""An encoded request as what is sent, and what its parameters ask of the router; pure."""

from __future__ import annotations

from collections.abc import Mapping

from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.codecs.base import Encoded, Parameter
from simcloud_inference_router.targets.base import Invocation, TakePart


def invocation_of(
    encoded: Encoded,
    *,
    request_id: str,
    traceparent: str = "",
    session: str = "",
    session_id: str = "",
    target_model: str = "",
    on_part: TakePart | None = None,
) -> Invocation:
    """What is sent; arguments as ``Invocation``'s.

    Args:
        encoded: body, and the parameters that travel beside it.
        request_id: the caller's id.
        traceparent: W3C trace context for the target; empty: none.
        session: what keeps its session at one target.
        session_id: its session at the endpoint.
        target_model: model of a multi-model endpoint.
        on_part: where parts of the answer go.
    """
    attributes = list(encoded.parameters.items())
    if traceparent:
        attributes.append(("traceparent", traceparent))
    return Invocation(
        body=encoded.body,
        content_type=encoded.content_type,
        accept=encoded.accept,
        request_id=request_id,
        attributes=attributes,
        session=session,
        session_id=session_id,
        target_model=target_model,
        on_part=on_part,
    )


def priority_of(parameters: Mapping[str, Parameter]) -> int:
    """OIP's priority, 0 where there is none; parameters of `Infer` are texts, and the model's."""
    priority = parameters.get("priority", 0)
    return priority if isinstance(priority, int) else 0


def canary_value(model: ModelEntry, parameters: Mapping[str, Parameter]) -> str:
    """Value that the model's canary draws by; empty where it draws by something else."""
    canary = model.canary
    if canary is None or not canary.parameter:
        return ""
    return str(parameters.get(canary.parameter, ""))
