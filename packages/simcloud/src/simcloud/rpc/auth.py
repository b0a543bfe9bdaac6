"""Who is calling, which buckets and models it may name, and whether it may operate the service."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

import grpc.aio
from pydantic import BaseModel, ConfigDict

from simcloud.errors import PermissionDenied

ANONYMOUS = "anonymous"

IDENTITY_KEYS = ("x509_subject_alternative_name", "x509_common_name")
"""gRPC's names of what a certificate says of its owner, the better ones first."""

# Of the RPC that the current task serves; empty where nobody has said.
_caller: ContextVar[str] = ContextVar("simcloud_caller", default="")


def caller_of(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Identity of the caller: its client certificate's first subject alternative name.

    The certificate's common name where it has no alternative names; ``anonymous`` for connections
    without a client certificate.
    """
    known = _caller.get()
    if known:
        return known
    properties = context.auth_context()
    for key in IDENTITY_KEYS:
        for value in properties.get(key, ()):
            return value.decode(errors="replace")
    return ANONYMOUS


def known_caller(caller: str) -> str:
    """Remembers the caller of the RPC that this task serves: asking gRPC costs every time."""
    _caller.set(caller)
    return caller


class Authorizer(Protocol):
    """Decides what a caller may do: everything that a service asks about its callers.

    ``AllowLists`` decides by its settings; another one may ask elsewhere. Pure, and quick: it is
    asked for every request.
    """

    def check_model(self, caller: str, model: str) -> None:
        """Lets a caller name a model.

        Raises:
            PermissionDenied: it may not.
        """

    def allows_model(self, caller: str, model: str) -> bool:
        """Whether ``check_model`` would let it, and so whether it may hear of the model."""

    def check_bucket(self, caller: str, bucket: str, prefix: str = "") -> None:
        """Lets a caller name a bucket and a prefix or key in it.

        Raises:
            PermissionDenied: it may not.
        """

    def check_admin(self, caller: str) -> None:
        """Lets a caller operate the service.

        Raises:
            PermissionDenied: it may not.
        """


class CallerAllowList(BaseModel):
    """What one caller may name, in place of what everyone may."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    caller: str
    """Identity, as ``caller_of`` returns it."""
    buckets: tuple[str, ...] = ()
    """`bucket`, `bucket/prefix` or `*`."""
    models: tuple[str, ...] = ()
    """Model names or `*`."""


class AllowLists(BaseModel):
    """Buckets, prefixes and models that requests may name.

    The service's role reads and writes whatever it can; what a *caller* may make it read and write
    is decided here (the confused deputy). A prefix covers whole path segments: `data/run` allows
    `data/run` and `data/run/x`, not `data/run2`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    buckets: tuple[str, ...] = ("*",)
    """`bucket`, `bucket/prefix` or `*` (all) that any caller may name."""
    models: tuple[str, ...] = ("*",)
    """Model names or `*` (all) that any caller may name."""
    callers: tuple[CallerAllowList, ...] = ()
    """Callers with lists of their own, which then replace `buckets` and `models` for them; JSON."""

    def check_bucket(self, caller: str, bucket: str, prefix: str = "") -> None:
        """Lets a caller name a bucket and a prefix or key in it.

        Raises:
            PermissionDenied: it is on no list of this caller.
        """
        buckets, _ = self._lists_of(caller)
        if not any(_covers(entry, bucket, prefix) for entry in buckets):
            raise PermissionDenied(
                f"{caller} may not name s3://{bucket}/{prefix.lstrip('/')}: "
                "it is not on the service's list of buckets",
                caller=caller,
                bucket=bucket,
                prefix=prefix,
            )

    def check_model(self, caller: str, model: str) -> None:
        """Lets a caller name a model.

        Raises:
            PermissionDenied: it is on no list of this caller.
        """
        if not self.allows_model(caller, model):
            raise PermissionDenied(
                f"{caller} may not use the model {model}: it is not on the service's list",
                caller=caller,
                model=model,
            )

    def allows_model(self, caller: str, model: str) -> bool:
        """Whether a caller may use a model, and so may hear of it."""
        _, models = self._lists_of(caller)
        return "*" in models or model in models

    def check_admin(self, caller: str) -> None:
        """Lets nobody operate the service: ``OperatorLists`` has who may.

        Raises:
            PermissionDenied: always.
        """
        raise _no_admin(caller)

    def _lists_of(self, caller: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        for own in self.callers:
            if own.caller == caller:
                return own.buckets, own.models
        return self.buckets, self.models


class OperatorLists(AllowLists):
    """As ``AllowLists``, of a service that has operators."""

    admins: frozenset[str] = frozenset()
    """Callers who may operate it."""

    def check_admin(self, caller: str) -> None:
        """Lets an operator in.

        Raises:
            PermissionDenied: it is not on the list.
        """
        if caller not in self.admins:
            raise _no_admin(caller)


def _no_admin(caller: str) -> PermissionDenied:
    return PermissionDenied(
        f"{caller} may not operate this service: it is not on its list of admins", caller=caller
    )


def _covers(entry: str, bucket: str, prefix: str) -> bool:
    if entry == "*":
        return True
    allowed_bucket, _, allowed_prefix = entry.partition("/")
    # To S3 dots are letters, but some servers and proxies resolve them as a file system would.
    if allowed_bucket != bucket or {".", ".."} & set(prefix.split("/")):
        return False
    allowed = allowed_prefix.strip("/")
    asked = prefix
    return not allowed or asked.rstrip("/") == allowed or asked.startswith(allowed + "/")
