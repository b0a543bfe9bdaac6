"""Calls of one connection: begun by headers, ended by an answer, a reset or a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import grpc

from simcloud.rpc.http2 import frames
from simcloud.rpc.http2.context import Context
from simcloud.rpc.http2.frames import ConnectionFailure
from simcloud.rpc.http2.wire import Malformed, RequestHead, check_trailers, status_block

if TYPE_CHECKING:
    from simcloud.rpc.http2.connection import Connection

_LONGEST_S: Final = 10 * 365 * 86_400.0
# A caller that waits as long before it cancels does not flood us: as many calls as are open at
# once are ended so in this time.
_PATIENT_S: Final = 0.1
# Next to a call that is cancelled before its method has run: that is what rapid resets are, while
# what runs is bounded by ``live``, and costs its caller a whole request.
_BEGUN_COST: Final = 0.1
# Calls that have waited begin so many at a time, and the next ones this much later, seconds: by
# then the first have answered, if they are quick, and their answers count.
_AT_A_TIME: Final = 8
_BREATH_S: Final = 0.001


class Calls:
    """Which calls a connection has.

    Args:
        connection: theirs.
    """

    __slots__ = (
        "_connection",
        "_ended_early",
        "_max",
        "_most_unsent",
        "_resumes",
        "last_stream",
        "live",
        "on_empty",
        "waiting",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        limits = connection.limits
        self._max = limits.max_streams
        self._most_unsent = max(limits.unsent_bytes, 4 * limits.max_message_bytes)
        self._resumes = False
        self.waiting: dict[int, Context] = {}
        """Those that begin when the peer has taken more of what it has asked for already."""
        self.last_stream = 0
        """Highest stream that the peer has opened."""
        self.live = 0
        """Tasks that serve a call, also those whose caller has gone and who clean up."""
        self.on_empty: Callable[[], None] | None = None
        """Called when the last stream has ended."""
        # Streams that we have ended and the peer has not, whose frames may still be on their way;
        # with the DATA that their windows allow yet.
        self._ended_early: dict[int, int] = {}

    # --- what the peer does ---

    def headers(self, number: int, block: bytes, *, ends: bool) -> None:
        """Headers of a new call, or the trailers of one.

        Raises:
            ConnectionFailure: they can't be read, or belong to no stream that may have any.
        """
        if number <= self.last_stream:
            self._trailers(number, block, ends=ends)
            return
        connection = self._connection
        self.last_stream = number
        try:
            head = connection.heads.request(block)
        except Malformed:
            self._reject(number, frames.PROTOCOL_ERROR, ends=ends)
            return
        if len(connection.streams) >= self._max:
            # More than MAX_CONCURRENT_STREAMS allows.
            self._reject(number, frames.REFUSED_STREAM, ends=ends)
        elif connection.lifetime.closed_to(number) or self.live >= self._max:
            # What the peer can't know of: that we drain, or still clean up.
            self._decline(number, frames.REFUSED_STREAM, ends=ends)
        elif head is None:
            self._turn_down(number, _TOO_MANY_HEADERS, ends=ends)
        elif head.refusal is not None:
            self._turn_down(number, head.refusal, ends=ends)
        else:
            self._open(number, head, ends=ends)

    def _open(self, number: int, head: RequestHead, *, ends: bool) -> None:
        connection = self._connection
        shared = connection.shared
        method = shared.methods.known.get(head.path) or shared.methods.unknown
        call = Context(connection, number, head, method)
        call.opened_at = connection.loop.time()
        connection.streams[number] = call
        timeout_s = head.timeout_s
        if timeout_s is not None:
            timeout_s = min(timeout_s, _LONGEST_S)
            loop = connection.loop
            call.deadline = call.opened_at + timeout_s
            call.timer = loop.call_later(timeout_s, self._expire, call)
        if ends:
            call.remote_ended = True
        if ends or method.streams_in:
            self.begin(call)

    def _trailers(self, number: int, block: bytes, *, ends: bool) -> None:
        connection = self._connection
        fields = connection.heads.fields(block)
        call = connection.streams.get(number)
        if call is None:
            self.late(number, ends=ends)
            return
        try:
            check_trailers(fields or ())
        except Malformed:
            self.reset(call, frames.PROTOCOL_ERROR)
            return
        if call.remote_ended:
            self.reset(call, frames.STREAM_CLOSED)
        elif not ends:
            # RFC 9113, section 8.1: a second block is the last thing of a request.
            self.reset(call, frames.PROTOCOL_ERROR)
        else:
            self.remote_ended(call)

    def remote_ended(self, call: Context) -> None:
        """The caller has sent all it had."""
        call.remote_ended = True
        if not call.method.streams_in:
            self.begin(call)
        elif call.inbox is not None and call.inbox.partial:
            self.refuse_message(call, grpc.StatusCode.INTERNAL, "the last message is cut off")
        else:
            call.wake_reader()

    def begin(self, call: Context) -> None:
        """Serves a call in a task of its own; later, when its caller takes no answers."""
        if self.waiting or self._connection.sender.held > self._most_unsent:
            # Not refused, since an honest peer has windows too, and not unread: what it sends next
            # may be the room that the answers need.
            self.waiting[call.stream_id] = call
            self._connection.shared.received.keep(call)
            self._connection.lifetime.await_progress()
            return
        self._start(call)

    def _start(self, call: Context) -> None:
        self.live += 1
        call.task = self._connection.shared.tasks.start(call.method.serve(call))

    def _leaves_room(self, call: Context) -> None:
        self.waiting.pop(call.stream_id, None)
        if self.waiting and not self._resumes:
            self._resumes = True
            self._connection.loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._resumes = False
        waiting, sender = self.waiting, self._connection.sender
        for number in list(waiting)[:_AT_A_TIME]:
            if sender.held > self._most_unsent:
                return  # The next one that ends comes here again.
            self._start(waiting.pop(number))
        if waiting:
            self._resumes = True
            self._connection.loop.call_later(_BREATH_S, self._resume)

    def cancelled(self, number: int) -> None:
        """RST_STREAM (section 6.4): the caller wants no answer.

        Raises:
            ConnectionFailure: there was no such stream, or too many are cancelled.
        """
        call = self._connection.streams.get(number)
        if call is None:
            self.late(number, ends=True, harmless=True)
            return
        connection = self._connection
        if connection.loop.time() - call.opened_at < _PATIENT_S:
            connection.control.reset(_BEGUN_COST if call.begun else 1)
        self._abandon(call)

    def late(self, number: int, *, ends: bool, harmless: bool = False) -> None:
        """A frame of a stream that is not open (section 5.1).

        Args:
            number: of the stream.
            ends: whether the peer's side ends with it.
            harmless: whether a peer may send such a frame after it has ended its side.

        Raises:
            ConnectionFailure: it was never open, or both sides had ended it.
        """
        if number > self.last_stream or not number & 1:
            raise ConnectionFailure(frames.PROTOCOL_ERROR, f"stream {number} is idle")
        if not harmless and number not in self._ended_early:
            raise ConnectionFailure(frames.STREAM_CLOSED, f"stream {number} is closed")
        if ends:
            # Once a stream: the caller's end may always cross our early answer.
            self._ended_early.pop(number, None)
        elif not harmless:
            self._connection.control.oddity()

    def late_data(self, number: int, length: int, *, ends: bool) -> None:
        """DATA of a stream that is not open.

        What was on its way when we ended the stream is no oddity: its window, of which nothing is
        given back any more, bounds it.

        Args:
            number: of the stream.
            length: of the frame's payload.
            ends: whether the peer's side ends with it.

        Raises:
            ConnectionFailure: it was never open, both sides had ended it, or its window is empty.
        """
        left = self._ended_early.get(number, length)
        if length > left:
            raise ConnectionFailure(
                frames.FLOW_CONTROL_ERROR, f"more than the window of stream {number}"
            )
        if ends or number not in self._ended_early:
            self.late(number, ends=ends)
        else:
            self._ended_early[number] = left - length

    # --- what we do ---

    def reset(self, call: Context, code: int) -> None:
        """Ends a call whose caller broke the rules (section 5.4.2).

        Raises:
            ConnectionFailure: too many ended so.
        """
        self._send_reset(call, code)
        self._abandon(call)
        self._connection.control.reset()

    def refuse(self, call: Context, code: grpc.StatusCode, details: str) -> None:
        """Ends a call with a status that its servicer has no say in, and its task with it."""
        if call.outbox is None:
            call.fail(code, details)
        else:
            # Half a message is out: there is no room for a status.
            self._send_reset(call, frames.CANCEL)
        self._abandon(call)

    def cut(self, call: Context) -> None:
        """Ends a call whose caller does not take what it has asked for."""
        self._send_reset(call, frames.ENHANCE_YOUR_CALM)
        self._abandon(call)

    def refuse_message(self, call: Context, code: grpc.StatusCode, details: str) -> None:
        """Ends a call whose caller sent what is no message: another reset by us (CVE-2025-8671).

        Raises:
            ConnectionFailure: too many ended so.
        """
        # Its status counts as an answer, which makes up for a reset.
        cost = 2 if call.outbox is None else 1
        self.refuse(call, code, details)
        self._connection.control.reset(cost)

    def _expire(self, call: Context) -> None:
        call.timer = None
        # Loops call early by the fraction of a millisecond that they don't count.
        call.deadline = self._connection.loop.time()
        if call.stream_id in self._connection.streams:
            self.refuse(call, grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def ended(self, call: Context) -> None:
        """A call's last frame was handed over."""
        connection = self._connection
        del connection.streams[call.stream_id]
        if not call.remote_ended:
            # RFC 9113, section 8.1: the answer does not need the rest of the request.
            self._send_reset(call, frames.NO_ERROR)
        timer = call.timer
        if timer is not None:
            timer.cancel()
            call.timer = None
        if call.reader is not None:
            call.wake_reader()
        if self.waiting:
            self._leaves_room(call)
        connection.control.answered()
        if not connection.streams and self.on_empty is not None:
            self.on_empty()

    def served(self, call: Context) -> None:
        """A call's task is at its end."""
        self.live -= 1
        task, call.task = call.task, None
        if task is not None:
            self._connection.shared.tasks.ended(task)
        if not call.local_ended:
            # What ends well says so itself.
            call.fail(grpc.StatusCode.INTERNAL, "the server did not bring the call to its end")
        call.called_back()

    def abandon_all(self) -> None:
        """Nobody is there any more."""
        for call in list(self._connection.streams.values()):
            self._abandon(call)

    def _abandon(self, call: Context) -> None:
        connection = self._connection
        call.abandoned = True
        connection.sender.forget(call)
        connection.shared.received.drop(call)
        call.drop()
        if self.waiting:
            self._leaves_room(call)
        task = call.task
        if task is not None:
            task.cancel()
            if not call.begun:
                # Its coroutine ends without having run: nobody else says that it has.
                self.served(call)
        if connection.streams.pop(call.stream_id, None) is None:
            return
        if not connection.streams and self.on_empty is not None:
            self.on_empty()

    def _reject(self, number: int, code: int, *, ends: bool) -> None:
        self._decline(number, code, ends=ends)
        self._connection.control.reset()

    def _decline(self, number: int, code: int, *, ends: bool) -> None:
        window = self._connection.limits.stream_window_bytes
        self._end_early(number, code, ends=ends, receive_left=window)

    def _turn_down(self, number: int, block: bytes, *, ends: bool) -> None:
        self._connection.sender.headers(number, block, end=True)
        if not ends:
            self._decline(number, frames.NO_ERROR, ends=False)
        self._connection.control.oddity()

    def _send_reset(self, call: Context, code: int) -> None:
        self._end_early(
            call.stream_id, code, ends=call.remote_ended, receive_left=call.receive_left
        )

    def _end_early(self, number: int, code: int, *, ends: bool, receive_left: int) -> None:
        self._connection.sender.control(frames.rst_stream(number, code))
        if ends:
            return
        early = self._ended_early
        early[number] = receive_left
        if len(early) > 4 * self._max:
            del early[next(iter(early))]


_TOO_MANY_HEADERS: Final = status_block(
    grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "the call's headers are too large"
)
