"""The shape of errors as SageMaker's runtime front-end sends them.

From botocore's service model of sagemaker-runtime (2017-05-13): names, status codes and members;
the code travels in the x-amzn-ErrorType header of the rest-json protocol.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from simcloud_model_container.errors import (
    BodyTooLarge,
    NotReady,
    RequestRefused,
    SignatureRefused,
    TimedOut,
    UnknownEndpoint,
)

VARIANT_HEADER = "x-Amzn-Invoked-Production-Variant"
CUSTOM_ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"
ERROR_TYPE_HEADER = "x-amzn-ErrorType"
# A local container has no account; the front-end's sentences name one.
ACCOUNT = "000000000000"


@dataclass(frozen=True, slots=True)
class FrontEndError:
    """An HTTP error of the front-end."""

    status: int
    code: str
    members: Mapping[str, object]

    def body(self) -> bytes:
        """The JSON body."""
        return json.dumps(dict(self.members)).encode()


def front_end_error(error: RequestRefused, *, endpoint: str) -> FrontEndError:
    """What the front-end makes of a refusal.

    What the container itself answers becomes ModelError with the container's status and body;
    only what the front-end would find before it reaches a container has a code of its own.
    """
    match error:
        case SignatureRefused():
            return FrontEndError(403, error.code, {"message": error.message})
        case UnknownEndpoint():
            message = f"Endpoint {endpoint} of account {ACCOUNT} not found."
            return FrontEndError(400, "ValidationError", {"Message": message})
        case BodyTooLarge():
            return FrontEndError(400, "ValidationError", {"Message": error.message})
        case NotReady():
            return FrontEndError(503, "ServiceUnavailable", {"Message": error.message})
        case _:
            return _model_error(error)


def _model_error(error: RequestRefused) -> FrontEndError:
    if isinstance(error, TimedOut):
        # No answer to quote, hence status 0 (aws/sagemaker-python-sdk#1119).
        return _quoting(0, "Your invocation timed out while waiting for a response from container")
    return _quoting(error.status, json.dumps({"error": error.message}))


def _quoting(status: int, original: str) -> FrontEndError:
    side = "client" if 400 <= status < 500 else "server"
    members = {
        "ErrorCode": f"{side.upper()}_ERROR_FROM_MODEL",
        "LogStreamArn": "",
        "Message": f'Received {side} error ({status}) from model with message "{original}".',
        "OriginalMessage": original,
        "OriginalStatusCode": status,
    }
    return FrontEndError(424, "ModelError", members)
