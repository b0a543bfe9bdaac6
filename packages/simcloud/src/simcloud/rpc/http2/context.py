"""What a servicer sees of its call: ``grpc.aio.ServicerContext`` over a stream of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc
import grpc.aio

from simcloud.rpc.http2.caller import Caller
from simcloud.rpc.http2.messages import MessageRefused
from simcloud.rpc.http2.wire import (
    RESPONSE_BLOCK,
    Metadata,
    RequestHead,
    response_block,
    status_block,
    trailers_block,
)
from simcloud.telemetry.logging import get_logger

if TYPE_CHECKING:
    from simcloud.rpc.http2.connection import Connection
    from simcloud.rpc.http2.methods import ServedMethod

_log = get_logger(__name__)

_INTERNAL: Final = grpc.StatusCode.INTERNAL.value[0]
_OK: Final = grpc.StatusCode.OK.value[0]
_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}
DoneCallback = Callable[[Any], None]
GivenMetadata = grpc.aio.Metadata | Sequence[tuple[str, str | bytes]]


def code_number(code: grpc.StatusCode | int) -> int:
    """Number of a status, of which servicers give the enum's member or the number."""
    return code if isinstance(code, int) else int(code.value[0])


def text_of(error: BaseException) -> str:
    """What an error says; of one that can't say it, its type."""
    try:
        return str(error)
    except Exception:
        return f"{type(error).__name__}, which can't be written"


class Context(Caller):
    """One call, as its servicer sees it.

    Reading and writing never wait longer than the call lives: when the caller has gone, or its
    time is over, both raise CancelledError, and the task that serves the call is cancelled.
    """

    __slots__ = (
        "_callbacks",
        "_code",
        "_details",
        "_headers_sent",
        "_trailing",
        "begun",
        "method",
    )

    def __init__(
        self,
        connection: Connection,
        stream_id: int,
        head: RequestHead,
        method: ServedMethod,
    ) -> None:
        super().__init__(connection, stream_id, head)
        self.method = method
        self.begun = False
        """Whether the task has run its first step: one that has not runs no clean-up either."""
        self._headers_sent = False
        self._code: int = _OK
        self._details = ""
        self._trailing: Metadata = ()
        self._callbacks: list[DoneCallback] | None = None

    # --- what the servicer says ---

    def set_code(self, code: grpc.StatusCode | int) -> None:
        """Status that the call ends with."""
        self._code = code_number(code)

    def set_details(self, details: str) -> None:
        """Message of that status."""
        self._details = details

    def code(self) -> int:  # type: ignore[override]  # As aio's own: the number.
        """Number of the status, as gRPC's own context has it."""
        return self._code

    def details(self) -> str:
        """Message of the status."""
        return self._details

    def set_trailing_metadata(self, trailing_metadata: GivenMetadata) -> None:
        """Metadata of the trailers."""
        self._trailing = tuple(trailing_metadata)

    def trailing_metadata(self) -> Metadata:  # type: ignore[override]  # A tuple, as aio gives.
        """Metadata of the trailers."""
        return self._trailing

    def set_compression(self, compression: grpc.Compression) -> None:
        """Nothing: answers are not compressed, which every caller must take."""

    def disable_next_message_compression(self) -> None:
        """Nothing: answers are not compressed."""

    async def send_initial_metadata(self, initial_metadata: GivenMetadata) -> None:
        """Sends the headers now.

        Raises:
            grpc.aio.UsageError: they were sent.
            ValueError: a key or a value can't travel.
        """
        self._check_open()
        if self._headers_sent:
            raise grpc.aio.UsageError("initial metadata was sent already")
        true_binary = self.connection.sender.true_binary
        self._send_headers(response_block(initial_metadata, true_binary=true_binary))

    async def read(self) -> Any:
        """The next message; ``grpc.aio.EOF`` when the caller sends no more.

        The caller may send as much again as was read: one that nobody reads has to wait.

        Raises:
            CancelledError: the call is over.
            AbortError: the message is one that can't be taken; the call has ended with that.
            UsageError: someone else is reading.
        """
        inbox = self.inbox
        while inbox is None or not inbox.messages:
            self._check_open()
            if self.remote_ended:
                return grpc.aio.EOF
            await self._come()
            inbox = self.inbox
        if self.abandoned:
            raise asyncio.CancelledError
        try:
            message = self.method.take(inbox)
        except MessageRefused as error:
            self._refuse(error)
        self.connection.taken(self, inbox)
        return message

    async def _come(self) -> None:
        if self.reader is not None:
            raise grpc.aio.UsageError("one reads at a time")
        mine = self.reader = self.connection.loop.create_future()
        try:
            await mine
        finally:
            if self.reader is mine:  # Who was woken may find the next one waiting.
                self.reader = None
        if self.local_ended:
            # Someone else has ended the call: nothing is taken any more.
            raise asyncio.CancelledError

    async def all_received(self) -> None:
        """Returns when the caller has sent all it had.

        Raises:
            CancelledError: the call is over.
        """
        while not self.remote_ended:
            self._check_open()
            await self._come()
        self._check_open()

    async def write(self, message: Any) -> None:
        """Sends a message; returns when the transport has it, so that a slow caller slows us.

        Raises:
            CancelledError: the call is over.
            UsageError: its status was sent.
        """
        self._check_open()
        try:
            data = self.method.serialized(message)
        except MessageRefused as error:
            self._refuse(error)
        if not self._headers_sent:
            self._send_headers(RESPONSE_BLOCK)
        if self.connection.sender.message(self, data):
            return
        while self.outbox is not None:
            if self.writers is None or self.writers.done():
                self.writers = self.connection.loop.create_future()
            # All who write wait for this one: a cancelled writer must not take it from the others.
            await asyncio.shield(self.writers)
        self._check_open()

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: GivenMetadata = (),
    ) -> NoReturn:
        """Ends the call with a status that is not OK.

        Raises:
            AbortError: always.
        """
        self._code = code_number(code)
        self._details = details
        if trailing_metadata:
            self._trailing = tuple(trailing_metadata)
        if self._code == _OK:
            self._code = grpc.StatusCode.UNKNOWN.value[0]
            self._details = "abort() was called with the code OK"
        self.finish()
        raise grpc.aio.AbortError(f"{_BY_NUMBER.get(self._code)}: {details}")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """As ``abort``, with what the status says."""
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    def cancel(self) -> bool:
        """Ends the call with CANCELLED; whether it was open."""
        if self.local_ended:
            return False
        self.set_code(grpc.StatusCode.CANCELLED)
        self.finish()
        if self.task is not None:
            self.task.cancel()
        return True

    def cancelled(self) -> bool:
        """Whether the caller has gone, has cancelled, or its time is over."""
        return self.abandoned

    def is_active(self) -> bool:
        """Whether there is still someone to answer."""
        return not self.done()

    def done(self) -> bool:
        """Whether the call is over."""
        return self.local_ended or self.abandoned

    def add_done_callback(self, callback: DoneCallback) -> None:
        """Has ``callback`` called with this context when the call is over."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    # --- how it ends ---

    def finish(self) -> None:
        """Sends the status that was set; nothing when one was sent or nobody is there."""
        if self.local_ended:
            return
        block = self._status_block()
        self._ends()
        self._headers_sent = True
        self.connection.sender.end(self, block)

    def _status_block(self) -> bytes:
        # Servicers give details and metadata of any kind: whatever they are, there is an end.
        make = trailers_block if self._headers_sent else status_block
        true_binary = self.connection.sender.true_binary
        try:
            return make(self._code, self._details, self._trailing, true_binary=true_binary)
        except Exception as error:
            _log.error("a status can't travel", method=self.head.path, exc_info=error)
            return make(_INTERNAL, f"the status or its metadata can't travel: {text_of(error)}")

    def finish_with(self, response: Any) -> None:
        """Sends the one message of a call, and its status."""
        if self.local_ended:
            return
        if self._code != _OK:
            self.finish()  # The message counts for nothing then.
            return
        data = self.method.serialized(response)
        if self._headers_sent or self._trailing or self._details:
            if not self._headers_sent:
                self._send_headers(RESPONSE_BLOCK)
            self.connection.sender.message(self, data)
            self.finish()
            return
        self._ends()
        self.connection.sender.answer(self, data)

    def _ends(self) -> None:
        self.local_ended = True
        if self.inbox is not None:
            self.connection.shared.received.drop(self)

    def fail(self, code: grpc.StatusCode, details: str) -> None:
        """Ends the call with a status of the server's."""
        self._code, self._details = code_number(code), details
        self.finish()

    def called_back(self) -> None:
        """Tells those who wanted to hear of the end; each once."""
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback(self)
            except Exception as error:
                _log.error("a done callback failed", method=self.head.path, exc_info=error)

    def _refuse(self, error: MessageRefused) -> NoReturn:
        self.fail(error.code, error.details)
        raise grpc.aio.AbortError(error.details) from error

    def _send_headers(self, block: bytes) -> None:
        self._headers_sent = True
        self.connection.sender.headers(self.stream_id, block)

    def _check_open(self) -> None:
        if self.abandoned:
            raise asyncio.CancelledError
        if self.local_ended:
            raise grpc.aio.UsageError("the call has ended: its status was sent")
