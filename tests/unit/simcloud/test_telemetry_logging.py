from __future__ import annotations

import asyncio
import contextvars
import io
import json
import logging as stdlib_logging
import subprocess
import sys
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest
import structlog

from simcloud.telemetry import logging, tracing
from support.eventually import eventually


@pytest.fixture
def lines() -> Iterator[Any]:
    """What is logged during the test, parsed."""
    stream = io.StringIO()
    root = stdlib_logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logging.configure("info", "unit", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    logging._Output.stream = None
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_one_json_object(lines: Any) -> None:
    logging.get_logger("part").info("shard committed", shard=12, path=ValueError("odd"))
    (line,) = lines()
    assert (line["event"], line["level"], line["service"], line["module"], line["shard"]) == (
        "shard committed",
        "info",
        "unit",
        "part",
        12,
    )
    assert line["timestamp"].endswith("Z")


def test_a_request_is_a_line_of_the_same_form(lines: Any) -> None:
    logging.log_request(
        "warning", logging.members({"rpc_method": "Get", "code": "UNAVAILABLE", "caller": 'a"b'})
    )
    logging.log_request("debug", logging.members({"rpc_method": "Get"}))
    logging.get_logger("part").warning("rpc", rpc_method="Get")
    request, other = lines()
    assert request["caller"] == 'a"b'
    assert request.keys() - other.keys() == {"code", "caller"}
    assert other.keys() - request.keys() == {"module"}


def test_lines_of_requests_are_written_together_soon_and_before_others(lines: Any) -> None:
    async def serve() -> None:
        logging.log_request(
            "info", logging.members({"code": "OK", "duration_ms": 1.5, "number": 1})
        )
        logging.log_request(
            "info", logging.members({"code": "OK", "duration_ms": inf, "number": None})
        )
        assert lines() == []
        await eventually(lambda: len(lines()) == 2)
        logging.log_request("info", logging.members({"code": "OK"}))
        logging.get_logger("part").info("after")

    asyncio.run(serve())
    found = lines()
    assert [line["event"] for line in found] == ["rpc", "rpc", "rpc", "after"]
    assert [line.get("duration_ms") for line in found] == [1.5, inf, None, None]


def test_lines_below_the_level_are_not_written(lines: Any) -> None:
    logging.get_logger("part").debug("detail")
    assert lines() == []


def test_a_line_within_a_trace_has_its_id(lines: Any) -> None:
    def inside() -> str:
        context = tracing.begin_trace()
        logging.get_logger("part").warning("odd")
        return context.trace_id

    assert contextvars.Context().run(inside) == lines()[0]["trace_id"]


def test_an_exception_is_in_its_line(lines: Any) -> None:
    try:
        raise ValueError("inside")
    except ValueError as error:
        logging.get_logger("part").error("failed", exc_info=error)
    assert "ValueError: inside" in lines()[0]["exception"]


def test_other_libraries_lines_are_json_too_and_quieter(lines: Any) -> None:
    stdlib_logging.getLogger("other.library").info("chatter")
    stdlib_logging.getLogger("other.library").warning("it is %s", "hot")
    (line,) = lines()
    assert (line["event"], line["level"], line["logger"], line["service"]) == (
        "it is hot",
        "warning",
        "other.library",
        "unit",
    )


def test_a_log_that_cannot_be_written_fails_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(logging._Output, "stream", Full())
    logging.log_request("info", logging.members({"code": "OK"}))


def outputs_of(program: str) -> tuple[str, str]:
    """Standard output and standard error of a program."""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return ended.stdout, ended.stderr


def test_a_program_that_configures_nothing_has_its_standard_output_for_itself() -> None:
    stdout, stderr = outputs_of("""
import structlog
from simcloud.telemetry.logging import get_logger, log_request
get_logger("p").warning("odd")
log_request("info", '"code": "OK"')
assert not structlog.is_configured()
""")
    assert stdout == ""
    odd, request = stderr.splitlines()
    assert "odd" in odd
    assert "rpc" in request
    assert "OK" in request


MINE = "processors=[lambda _logger, _method, event: 'mine: ' + event['event']]"


def test_a_program_that_configures_structlog_itself_keeps_that() -> None:
    stdout, stderr = outputs_of(f"""
import structlog
structlog.configure({MINE})
from simcloud.telemetry.logging import get_logger, log_request
get_logger("p").warning("odd")
log_request("info", '"code": "OK"')
""")
    assert (stdout, stderr) == ("mine: odd\nmine: rpc\n", "")


@pytest.mark.parametrize("cached", [False, True])
def test_a_program_may_configure_structlog_after_the_import_and_the_first_line(
    cached: bool,
) -> None:
    stdout, stderr = outputs_of(f"""
import structlog
from simcloud.telemetry.logging import get_logger, log_request
log = get_logger("p")
log.warning("early")
if not structlog.is_configured():
    structlog.configure({MINE}, cache_logger_on_first_use={cached})
log.warning("odd")
log.bind(shard=1).warning("odd")
log_request("info", '"code": "OK"')
""")
    assert stdout == "mine: odd\nmine: odd\nmine: rpc\n"
    assert "early" in stderr
    assert "mine" not in stderr


def test_a_logger_that_spoke_before_ours_was_set_up_follows_it_and_is_kept(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    logger = logging.get_logger("part")
    logger.warning("early")
    assert "early" in capsys.readouterr().err
    lines = request.getfixturevalue("lines")
    logger.warning("odd")
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    logger.warning("again")
    assert [line["event"] for line in lines()] == ["odd", "again"]
    assert capsys.readouterr() == ("", "")
