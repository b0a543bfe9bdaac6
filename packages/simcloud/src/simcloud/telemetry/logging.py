"""Logs as JSON, one object a line on standard error: ours through structlog, others' through it.

Every line has ``timestamp`` (UTC), ``level``, ``event``, ``service`` and, within an RPC,
``trace_id``.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from simcloud.telemetry import tracing

Level = Literal["debug", "info", "warning", "error"]
EventDict = MutableMapping[str, Any]

_LEVELS: Final[dict[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_encode: Final = json.JSONEncoder(default=str).encode
_text: Final[Callable[[str], str]] = json.encoder.encode_basestring_ascii
quoted: Final = _text
"""A text as JSON, quotes included, in ASCII."""

# Other libraries speak when something is wrong; their debug lines would drown ours and cost time.
_THIRD_PARTY_LEVEL: Final = logging.WARNING


FLUSH_S: Final = 0.05
"""Longest time for which the line of a request waits for others to be written with: a system call
each costs more than all the rest of a line. A process that is killed loses as much of them."""

_MAX_PENDING: Final = 256

_WHOLE_BYTES: Final = 4096
"""What a pipe takes in one piece (PIPE_BUF): lines of several processes don't cut each other."""


class _Output:
    """Mutable state of this module: where ``log_request`` writes, None before ``configure``."""

    stream: TextIO | None = None
    level: int = logging.INFO
    service: str = '""'
    """Encoded."""
    # One object for ever: other threads' lines write out what is in it.
    pending: ClassVar[deque[str]] = deque()


def configure(level: Level, service: str, *, stream: TextIO | None = None) -> None:
    """Sets up logging for the process; called once, by ``__main__``.

    Args:
        level: least severe line written.
        service: name of the process in every line, for example ``uploader``.
        stream: where lines go; by default standard error.
    """
    flush()
    output = sys.stderr if stream is None else stream
    number = _LEVELS[level]
    _Output.stream, _Output.level, _Output.service = output, number, _text(service)

    def add_service(_logger: object, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[Processor] = [
        _requests_first,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _add_trace_id,
    ]
    render: list[Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=str),
    ]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, _THIRD_PARTY_LEVEL))


def log_request(level: Level, members: str, *, event: str = "rpc") -> None:
    """Writes the line of one request: what ``get_logger(…).info(event, …)`` would, in 2 µs not 25.

    The one line that every request pays for goes past structlog's chain, and within an event loop
    it is written with others, at most ``FLUSH_S`` later and before any other line of ours.

    Args:
        level: of the line.
        members: what the line says beside timestamp, level, event and service, as the members of a
            JSON object, from ``members``: what is the same every time is encoded once.
        event: of the line; plain ASCII without quotes.
    """
    number = _LEVELS[level]
    if _Output.stream is None:
        # Not configured: an embedding process, or a test, decides what becomes of it.
        fields: dict[str, Any] = json.loads(f"{{{members}}}")
        get_logger(__name__).log(number, event, **fields)
        return
    if number < _Output.level:
        return
    pending = _Output.pending
    pending.append(
        f'{{"event": "{event}", "level": "{level}", '
        f'"timestamp": "{datetime.now(UTC).isoformat()}", '
        f'"service": {_Output.service}, {members}}}\n'
    )
    if len(pending) == 1:
        try:
            asyncio.get_running_loop().call_later(FLUSH_S, flush)
        except RuntimeError:
            flush()
    elif len(pending) >= _MAX_PENDING:
        flush()


def members(fields: Mapping[str, object]) -> str:
    """Plain values as the members of a JSON object, for ``log_request``."""
    return ", ".join([f"{_text(name)}: {_encode(value)}" for name, value in fields.items()])


def flush() -> None:
    """Writes the lines of requests that wait to be written. Idempotent."""
    pending = _Output.pending
    while pending:
        together, size = [], 0
        with contextlib.suppress(IndexError):
            while pending and size + len(pending[0]) <= _WHOLE_BYTES:
                together.append(pending.popleft())
                size += len(together[-1])
            if not together:
                together.append(pending.popleft())
        # A log that can't be written (its reader has gone, the disk is full) fails no request.
        if _Output.stream is not None:
            with contextlib.suppress(OSError, ValueError):
                _Output.stream.write("".join(together))
                _Output.stream.flush()


class _ModuleLogger:
    """structlog's logger by its configuration; standard error as long as nobody made one.

    structlog's own default is standard output, which belongs to what a command, or somebody's
    program, prints. Nothing is configured for that: a program that asks whether structlog is, and
    else does so itself, is not to find that an import has.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._configured = structlog.get_logger(module=module)

    def __getattr__(self, name: str) -> Any:
        # What nobody is asked for by name: copy and pickle look for these.
        if name.startswith("__"):
            raise AttributeError(name)
        if not structlog.is_configured():
            plain = structlog.wrap_logger(structlog.PrintLogger(sys.stderr), module=self._module)
            return getattr(plain, name)
        found = getattr(self._configured, name)
        if structlog.get_config()["cache_logger_on_first_use"]:
            # Found without this method from then on.
            setattr(self, name, found)
        return found


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger for a module, kept as ``_log``.

    ``_log.info("shard committed", shard=12)``: the event is a short fixed sentence; what varies is
    in the keywords. It follows whoever configures structlog, ``configure`` or the program that
    imports us, before or after; until then lines go to standard error.
    """
    return cast("FilteringBoundLogger", _ModuleLogger(name))


def _requests_first(_logger: object, _method: str, event: EventDict) -> EventDict:
    flush()
    return event


def _add_trace_id(_logger: object, _method: str, event: EventDict) -> EventDict:
    if "trace_id" not in event:
        trace_id = tracing.current_trace_id()
        if trace_id:
            event["trace_id"] = trace_id
    return event


atexit.register(flush)
