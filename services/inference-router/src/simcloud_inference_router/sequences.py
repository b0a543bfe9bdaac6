"""Sequences of requests: one after the other, each in its session."""

from __future__ import annotations

import asyncio
import secrets
from types import TracebackType
from typing import Self

from simcloud.errors import InvalidRequest, Overloaded
from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.request_parameters import SESSION, Asked, SequenceStep, Session
from simcloud_inference_router.targets.base import NEW_SESSION

MAX_SEQUENCES = 1024
"""Sequences that one stream may have open at once."""


def is_stateful(model: ModelEntry) -> bool:
    """Whether the model's sequences are SageMaker sessions."""
    return model.targets[0].sessions


def session_of(model: ModelEntry, asked: Asked) -> Session | None:
    """The session of a request that is on no stream: the one it names, or a new one.

    Raises:
        InvalidRequest: it is within a sequence whose session it does not name, or the model keeps
            no sessions.
    """
    step = asked.sequence
    if asked.session is not None:
        if not is_stateful(model):
            problem = f"model {model.name} keeps no sessions; leave it out"
            raise InvalidRequest(f"parameters[{SESSION}]", problem)
        return asked.session
    if step is None:
        return None
    if not is_stateful(model):
        # The model's own business; it must only stay at one target.
        return Session(_key_of(step))
    if not step.start:
        problem = (
            f"is missing: outside a stream a request of a sequence of model {model.name} names "
            "the session that the answer to its first one gave"
        )
        raise InvalidRequest(f"parameters[{SESSION}]", problem)
    return Session(secrets.token_hex(8), NEW_SESSION)


class _Sequence:
    __slots__ = ("lock", "session", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.session: Session | None = None
        """None before the first answer, and after the end."""
        self.users = 0
        """Requests that have their turn or wait for it."""


class StreamSequences:
    """The sequences of one ModelStreamInfer stream; they end with it.

    A request waits until the one before it in its sequence is answered: state depends on order.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, int | str], _Sequence] = {}
        # Sequences of two streams may have one id.
        self._prefix = secrets.token_hex(8)

    def __len__(self) -> int:
        """Sequences that are open or have requests."""
        return len(self._open)

    def turn(self, model: ModelEntry, step: SequenceStep) -> Turn:
        """A request's turn, for ``async with``; to be taken before anything else is waited for.

        Raises:
            Overloaded: too many sequences are open.
        """
        name = (model.name, step.id)
        sequence = self._open.get(name)
        if sequence is None:
            if len(self._open) >= MAX_SEQUENCES:
                raise Overloaded(
                    f"{MAX_SEQUENCES} sequences are open on the stream; end some with sequence_end",
                    retry_after_s=1.0,
                )
            sequence = self._open[name] = _Sequence()
        sequence.users += 1
        return Turn(self, sequence, model=model, step=step)

    def first(self, model: ModelEntry, step: SequenceStep) -> Session:
        """The session of a sequence's first request."""
        if is_stateful(model):
            return Session(secrets.token_hex(8), NEW_SESSION)
        return Session(f"{self._prefix}{_key_of(step)}")

    def leave(self, model: ModelEntry, step: SequenceStep, sequence: _Sequence) -> None:
        """A request is done; for ``Turn`` alone."""
        sequence.users -= 1
        if not sequence.users and sequence.session is None:
            self._open.pop((model.name, step.id), None)


class Turn:
    """A request's turn in its sequence."""

    __slots__ = ("_entered", "_model", "_sequence", "_sequences", "_step", "session")

    def __init__(
        self,
        sequences: StreamSequences,
        sequence: _Sequence,
        *,
        model: ModelEntry,
        step: SequenceStep,
    ) -> None:
        self._sequences = sequences
        self._sequence = sequence
        self._model = model
        self._step = step
        self._entered = False
        self.session = Session("")
        """Where the request is to go; there once the turn has come."""

    async def __aenter__(self) -> Self:
        """Waits for the turn.

        Raises:
            InvalidRequest: the sequence was not begun, or has ended.
        """
        try:
            await self._sequence.lock.acquire()
        except BaseException:
            self._sequences.leave(self._model, self._step, self._sequence)
            raise
        self._entered = True
        try:
            self.session = self._session()
        except InvalidRequest:
            self._leave(None)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Lets the next one have its turn."""
        going_on = self._sequence.session
        if exc is None and going_on is None and not is_stateful(self._model):
            going_on = self.session
        self._leave(None if self._step.end else going_on)

    def answered(self, *, session_id: str, closed: bool) -> None:
        """Remembers what the answer said of the session.

        Args:
            session_id: of the session that the model made; empty: none.
            closed: whether the model closed the session.
        """
        if session_id:
            self.session = Session(self.session.key, session_id)
        self._sequence.session = None if closed else self.session

    def _session(self) -> Session:
        if self._step.start:
            self._sequence.session = None
            return self._sequences.first(self._model, self._step)
        if self._sequence.session is not None:
            return self._sequence.session
        if not is_stateful(self._model):
            return self._sequences.first(self._model, self._step)
        problem = (
            f"sequence {self._step.id} of model {self._model.name} is not open: its first request "
            "must say sequence_start, and be answered"
        )
        raise InvalidRequest("parameters[sequence_start]", problem)

    def _leave(self, session: Session | None) -> None:
        if self._entered:
            self._entered = False
            self._sequence.session = session
            self._sequence.lock.release()
            self._sequences.leave(self._model, self._step, self._sequence)


def _key_of(step: SequenceStep) -> str:
    return f"sequence-{step.id}"
