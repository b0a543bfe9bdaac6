"""The whole of a service's ``__main__``: settings, logs, traces, event loop, exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

from simcloud import failpoints
from simcloud.concurrency import leaves
from simcloud.errors import SimcloudError
from simcloud.rpc.processes import end_with_supervisor, supervise
from simcloud.rpc.settings import ServerSettings
from simcloud.settings import SettingsError, load_settings
from simcloud.telemetry import logging, tracing

S = TypeVar("S", bound=ServerSettings)


def _one(_settings: object) -> int:
    return 1


def run(
    main: Callable[[S], Coroutine[None, None, None]],
    *,
    settings: type[S],
    name: str,
    argv: Sequence[str] | None = None,
    processes: Callable[[S], int] = _one,
) -> int:
    """Reads the settings and runs a service to its end, on uvloop.

    ``python -m simcloud_uploader`` is ``sys.exit(run(serve_uploader, settings=UploaderSettings,
    name="uploader"))``.

    Args:
        main: the service: builds its parts and awaits ``rpc.server.serve``.
        settings: its settings.
        name: its name in logs and traces; ``SIMCLOUD_<NAME>_`` begins its variables, dashes as
            underscores.
        argv: command line without the program; by default that of the process.
        processes: how many are to share the work, from the settings; see ``rpc.processes``. Its
            flag is ``--processes``.

    Returns:
        Exit code: 0 stopped as asked, 1 could not start or failed, 2 wrong settings. (A second
        signal ends the process with 128 + its number.)
    """
    prefix = f"SIMCLOUD_{name.upper().replace('-', '_')}_"
    try:
        loaded = load_settings(
            settings,
            prefix,
            argv=sys.argv[1:] if argv is None else argv,
            prog=f"python -m simcloud_{name.replace('-', '_')}",
        )
    except SettingsError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    logging.configure(loaded.log_level, name)
    tracing.configure(name, loaded.otlp_endpoint, sampling_ratio=loaded.trace_sampling_ratio)
    try:
        failpoints.arm()
    except SimcloudError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    if (count := processes(loaded)) > 1:
        return _supervise(loaded, count)
    end_with_supervisor()
    return _run(main(loaded), name)


def _supervise(settings: ServerSettings, count: int) -> int:
    try:
        return supervise(settings, count)
    except SimcloudError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2


def _run(work: Coroutine[None, None, None], name: str) -> int:
    # Not at the top: on a system without uvloop the library must still import.
    import uvloop

    log = logging.get_logger(name)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except Exception as error:
        causes = leaves(error)
        expected = all(isinstance(cause, SimcloudError) for cause in causes)
        log.error(f"{name} stopped: {causes[0]}", exc_info=None if expected else error)
        return 1
    return 0
