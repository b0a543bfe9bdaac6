"""Several processes of one service on one port: started before gRPC is, watched, stopped together.

One event loop serves a process, so cores are used by processes. Each is started anew, never forked:
gRPC does not survive that. The kernel spreads connections over them, not requests (SO_REUSEPORT):
clients with few connections need ``max_connection_age_s`` or a balancer of requests in front.
Limits, statistics and metrics are each process's own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from simcloud.errors import InvalidRequest
from simcloud.rpc.settings import ServerSettings
from simcloud.telemetry.logging import get_logger

_log = get_logger(__name__)

_SUPERVISED: Final = "SIMCLOUD_SUPERVISOR_FD"
"""Variable by which a process knows that it is one of several: a pipe that its supervisor holds."""

_READY_S: Final = 120.0
_STEP_S: Final = 0.05
# What a process needs beside its drain to stop.
_STOP_S: Final = 10.0


def end_with_supervisor() -> None:
    """Has this process told to stop, and so to drain, when its supervisor dies; else nothing.

    By the end of a pipe that the supervisor alone holds open. Linux's own signal of a parent's
    death comes once more for each thread that the parent had, and a second one means at once.
    """
    held = os.environ.pop(_SUPERVISED, None)
    if held is None:
        return
    os.set_inheritable(int(held), False)

    def wait() -> None:
        os.read(int(held), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor", daemon=True).start()


def supervise(settings: ServerSettings, count: int) -> int:
    """Runs ``count`` processes of this process's own command line until they are told to stop.

    SIGTERM and SIGINT are passed on, so that each drains, and so is SIGHUP, by which a service
    reads again what it reads again. One that dies takes the others with it,
    drained: whoever runs us starts all anew. ``settings.port_file`` is written when all listen:
    the shared port, and each process's own pid and metrics port.

    Args:
        settings: of the service; the metrics of process ``i`` are at ``metrics_listen``'s port
            plus ``i``.
        count: how many, 2 or more.

    Returns:
        Exit code: 0 all stopped as asked, 1 otherwise.

    Raises:
        InvalidRequest: they can't share ``settings.listen``.
    """
    with ExitStack() as stack:
        listen = stack.enter_context(_port_held(settings.listen))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simcloud-")))
        children: list[subprocess.Popen[bytes]] = []
        alive = stack.enter_context(_pipe())
        asked, told = stack.enter_context(_signals_passed_on(children))
        stack.callback(_end, children)
        for number in range(count):
            if asked:
                break
            child = _started(settings, listen, folder, number, alive)
            children.append(child)
            if asked and child.pid not in told:
                # The signal came while the process was being started, and nobody knew of it yet.
                child.send_signal(asked[-1])
        if _wait_until_ready(children, folder, asked):
            _write_ports(settings.port_file, children, folder)
            _log.info("listening", address=listen, processes=[each.pid for each in children])
            _wait_for_an_end(children)
            if settings.port_file is not None:
                settings.port_file.unlink(missing_ok=True)
        if not asked:
            _log.error("a process ended by itself; the others are stopped", codes=_codes(children))
            for child in children:
                child.terminate()
        _wait_for_all(children, settings.drain_notice_s + settings.drain_s)
        return 0 if asked and all(code == 0 for code in _codes(children)) else 1


def _started(
    settings: ServerSettings, listen: str, folder: Path, number: int, alive: int
) -> subprocess.Popen[bytes]:
    flags = ["--processes", "1", "--listen", listen, "--reuse-port", "true"]
    flags += ["--port-file", str(_port_file(folder, number))]
    if settings.metrics_listen is not None:
        host, _, port = settings.metrics_listen.rpartition(":")
        flags += ["--metrics-listen", f"{host}:{int(port) + number if int(port) else 0}"]
    # A session of its own: a terminal's Ctrl-C reaches it through us alone, once and not twice.
    return subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:], *flags],
        env={**os.environ, _SUPERVISED: str(alive)},
        pass_fds=(alive,),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


@contextmanager
def _pipe() -> Iterator[int]:
    """The reading end of a pipe whose other end closes with the block, or with this process."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def _port_file(folder: Path, number: int) -> Path:
    return folder / f"{number}.json"


@contextmanager
def _port_held(listen: str) -> Iterator[str]:
    """The address with its port, which stays ours: bound, and never listened on."""
    host, _, port = listen.rpartition(":")
    if listen.startswith("unix:") or not port.isdigit():
        raise InvalidRequest("listen", f"processes can't share {listen}: give host:port")
    bare = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if port == "0":
            held.bind((bare, 0))
            port = str(held.getsockname()[1])
        yield f"{host}:{port}"


@contextmanager
def _signals_passed_on(
    children: Sequence[subprocess.Popen[bytes]],
) -> Iterator[tuple[list[int], set[int]]]:
    """Passes signals on within the block.

    Those that came so far and ask for an end; and the ids of the processes that were told of one.
    """
    asked: list[int] = []
    told: set[int] = set()

    def stop(received: int, frame: object) -> None:
        asked.append(received)
        told.update(child.pid for child in children)
        pass_on(received, frame)

    def pass_on(received: int, _frame: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(received)

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, pass_on)
    try:
        yield asked, told
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _wait_until_ready(
    children: Sequence[subprocess.Popen[bytes]], folder: Path, asked: Sequence[int]
) -> bool:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        if asked or any(child.poll() is not None for child in children):
            return False
        if all(_port_file(folder, number).exists() for number in range(len(children))):
            return True
        _pause(children)
    return False


def _write_ports(
    port_file: Path | None, children: Sequence[subprocess.Popen[bytes]], folder: Path
) -> None:
    if port_file is None:
        return
    ports = [json.loads(_port_file(folder, n).read_text()) for n in range(len(children))]
    processes = [
        {"pid": child.pid, "metrics": each["metrics"]}
        for child, each in zip(children, ports, strict=True)
    ]
    content = {**ports[0], "processes": processes}
    with tempfile.NamedTemporaryFile(
        "w", dir=port_file.parent, prefix=port_file.name, delete=False
    ) as file:
        json.dump(content, file)
    Path(file.name).replace(port_file)


def _wait_for_an_end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    while all(child.poll() is None for child in children):
        _pause(children)


def _pause(children: Sequence[subprocess.Popen[bytes]]) -> None:
    with suppress(subprocess.TimeoutExpired):
        children[0].wait(_STEP_S)


def _wait_for_all(children: Sequence[subprocess.Popen[bytes]], drain_s: float) -> None:
    """Waits for those that drain. Not asked twice: a second signal means at once."""
    deadline = time.monotonic() + drain_s + _STOP_S
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, deadline - time.monotonic()))


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.kill()
        child.wait()


def _codes(children: Sequence[subprocess.Popen[bytes]]) -> list[int | None]:
    return [child.poll() for child in children]
