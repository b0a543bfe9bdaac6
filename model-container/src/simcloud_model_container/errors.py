"""What can go wrong, in families by the HTTP status that each is answered with."""

from __future__ import annotations

from typing import ClassVar


class ModelContainerError(Exception):
    """Root of the container's errors; the message says what, where, and what to do."""


class RefusedStart(ModelContainerError):
    """The server can't start: a wrong setting, a wrong weights file, a taken port."""


class RequestRefused(ModelContainerError):
    """One request failed; others go on.

    Args:
        message: what is wrong with the request, expected and found.
    """

    status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(RequestRefused):
    """The body or a parameter can never be answered."""

    status = 400


class UnknownEndpoint(RequestRefused):
    """No endpoint of that name is served here."""

    status = 404


class NotAcceptable(RequestRefused):
    """The caller accepts no type of answer that the model gives."""

    status = 406


class BodyTooLarge(RequestRefused):
    """The body is larger than the settings allow."""

    status = 413


class UnsupportedContentType(RequestRefused):
    """The request's content type is none that the model reads."""

    status = 415


class InferenceFailed(RequestRefused):
    """The network itself failed on this request's images."""

    status = 500


class TimedOut(RequestRefused):
    """The answer, or the rest of the request's body, did not come in time."""

    status = 504


class Unavailable(RequestRefused):
    """The request would succeed later.

    Args:
        message: why not now.
        retry_after_s: seconds after which asking again makes sense.
    """

    status = 503

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """All slots of the model are taken."""


class NotReady(Unavailable):
    """The models are loading, or the server is going down."""


class SignatureRefused(RequestRefused):
    """The request's AWS signature is missing, wrong or stale.

    Args:
        code: the error code that AWS gives this case.
        message: what does not hold.
    """

    status = 403

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
