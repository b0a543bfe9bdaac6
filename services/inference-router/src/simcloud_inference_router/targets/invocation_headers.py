"""What an invocation says of itself in headers of SageMaker's runtime; pure."""

from __future__ import annotations

import re
from typing import Final

from simcloud_inference_router.targets.base import Invocation

MAX_ATTRIBUTES: Final = 1024
"""Characters of CustomAttributes (InvokeEndpoint's model)."""

INFERENCE_ID: Final = re.compile(r"[\x21-\x7e]{1,64}")
"""What InferenceId may be; the runtime also takes blanks, which a log can't show."""

ACCEPT: Final = "accept"
CUSTOM_ATTRIBUTES: Final = "x-amzn-sagemaker-custom-attributes"
"""Of requests; of answers where the container set it."""

SAGEMAKER_ACCEPT: Final = "x-amzn-sagemaker-accept"
"""The name of Accept where the answer's own media type is another: streams, and S3's objects."""


def add_invocation_headers(headers: dict[str, str], invocation: Invocation, *, accept: str) -> None:
    """Adds media type wanted back, id and attributes, as far as the invocation has them.

    Args:
        headers: those of the request, names lower case.
        invocation: what is asked.
        accept: name of the header for the media type: ``ACCEPT`` or ``SAGEMAKER_ACCEPT``.
    """
    if invocation.accept:
        headers[accept] = invocation.accept
    request_id = invocation.request_id
    if request_id and INFERENCE_ID.fullmatch(request_id):
        headers["x-amzn-sagemaker-inference-id"] = request_id
    if invocation.attributes and (attributes := custom_attributes(invocation)):
        headers[CUSTOM_ATTRIBUTES] = attributes


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
