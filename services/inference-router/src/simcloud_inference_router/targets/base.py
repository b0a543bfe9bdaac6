"""What a target is to the rest of the router: one invocation in, one answer or failure out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from simcloud.errors import SimcloudError
from simcloud.records import record

MAX_ID_BYTES = 256
"""Longest id of a frame; of a longer one of OIP, which sets no limit, the log has so much."""

NEW_SESSION = "NEW_SESSION"
"""``Invocation.session_id`` that asks the model for a session (InvokeEndpoint's SessionId)."""


@record
class TargetAnswer:
    """The model's answer."""

    body: bytes
    content_type: str
    variant: str = ""
    """Production variant that answered; empty where there is none."""
    session: str = ""
    """Session that the model has just made; empty: none."""
    closed_session: str = ""
    """Session that the model has just closed; empty: none."""
    attributes: str = ""
    """CustomAttributes that the container set; empty: none."""


TakePart: TypeAlias = Callable[[TargetAnswer], Awaitable[None]]
"""Takes one part of an answer that comes in parts; the target waits for it."""


@record
class Invocation:
    """One request to a model, already in the model's own encoding."""

    body: bytes
    content_type: str
    accept: str
    """Media type wanted back; empty sends no Accept."""
    request_id: str = ""
    """The caller's id; travels as InferenceId where it is a valid one."""
    attributes: Sequence[tuple[str, str]] = ()
    """Names and values for CustomAttributes, the trace context among them."""
    session: str = ""
    """Key of the caller's session: invocations with the same one go to the same target, and are
    never sent twice at once; empty: it belongs to none."""
    session_id: str = ""
    """Session at the endpoint (SessionId): an id, ``NEW_SESSION`` to open one, or empty."""
    target_model: str = ""
    """Model of a multi-model endpoint, in place of the catalogue's; empty: the catalogue's."""
    on_part: TakePart | None = None
    """Where parts go as they come, for a model that answers several times; the answer then has an
    empty body. Such a request is never sent twice at once, and not again after its first part.
    None: the answer is wanted whole."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer, and what may be done about it."""

    error: SimcloudError
    retry: bool = False
    """Whether another try may be made within the budget."""
    shrink: bool = False
    """Whether the target said that it has too much to do: 429, 503, no connection."""
    pause_s: float | None = None
    """Seconds that the target asked to be left alone; None: it did not say."""
    refresh: bool = False
    """Whether new credentials may help."""
    no_capacity: bool = False
    """Whether the target is scaled to zero: it was not asked in vain, for asking wakes it up."""


class Target(Protocol):
    """A place that serves a model."""

    @property
    def name(self) -> str:
        """Name in the catalogue."""

    async def invoke(self, invocation: Invocation, *, timeout_s: float) -> TargetAnswer | Failure:
        """Asks once.

        A cancelled call closes its connection, so that the target sees it go. Never raises for
        what the other side did.

        Args:
            invocation: what to send.
            timeout_s: seconds from now to the answer's last byte.
        """
