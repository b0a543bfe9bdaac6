"""What a target is to the rest of the router: one invocation in, one answer or failure out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from simcloud.errors import SimcloudError


@dataclass(frozen=True, slots=True)
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
    """Key of the caller's session: invocations with the same one go to the same target; empty: it
    belongs to none."""


@dataclass(frozen=True, slots=True)
class TargetAnswer:
    """The model's answer."""

    body: bytes
    content_type: str
    variant: str = ""
    """Production variant that answered; empty where there is none."""


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
