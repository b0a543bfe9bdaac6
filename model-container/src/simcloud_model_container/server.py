"""Start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import cv2
import structlog
from aiohttp import web

from simcloud_model_container.app import ModelApp
from simcloud_model_container.catalogue import ModelDescription, read_catalogue
from simcloud_model_container.errors import RefusedStart
from simcloud_model_container.serving import load_model, serve_model
from simcloud_model_container.settings import Settings
from simcloud_model_container.telemetry import Metrics

# After the drain only answers already made are on their way to their sockets.
LAST_WRITES_TIMEOUT_S = 3.0

_log = structlog.get_logger()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    Listens at once and answers /ping with 503 until the models are loaded: SageMaker wants the
    socket open early.

    Raises:
        RefusedStart: a model is unknown or its files are wrong, or the port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # OpenCV's own threads would compete with the sessions; parallelism comes from workers here.
    cv2.setNumThreads(1)
    descriptions = _chosen(settings)
    metrics = Metrics()
    app = ModelApp(settings, metrics)
    # Leaving the stack undoes in reverse order: listener first, then the models' threads.
    async with AsyncExitStack() as models, AsyncExitStack() as listener:
        port = await _listen(app, settings, listener)
        _announce(port, settings)
        served = {}
        for name, description in descriptions.items():
            loaded = await asyncio.to_thread(load_model, description, settings)
            served[name] = await models.enter_async_context(serve_model(loaded, settings, metrics))
        app.become_ready(served)
        _log.info("ready", port=port, models=list(served))
        await stop.wait()
        # Drain order:
        # 1. /ping says 503 and new invocations are refused, while the port still answers;
        # 2. invocations in flight are answered, for at most drain_timeout_s;
        # 3. the listener closes (end of `listener`);
        # 4. batchers and threads end (end of `models`).
        _log.info("draining")
        try:
            async with asyncio.timeout(settings.drain_timeout_s):
                await app.drain()
        except TimeoutError:
            _log.warning("drain timed out", seconds=settings.drain_timeout_s)
    _log.info("stopped")


def _chosen(settings: Settings) -> dict[str, ModelDescription]:
    catalogue = read_catalogue(settings.weights_folder)
    unknown = [name for name in settings.models() if name not in catalogue]
    if unknown:
        known = ", ".join(catalogue)
        message = f"the settings name model {unknown[0]}; {settings.weights_folder} has {known}"
        raise RefusedStart(message)
    return {name: catalogue[name] for name in settings.models()}


async def _listen(app: ModelApp, settings: Settings, listener: AsyncExitStack) -> int:
    """Listen; the port that was bound. `listener` closes it again."""
    runner = web.AppRunner(
        app.web_application(), access_log=None, shutdown_timeout=LAST_WRITES_TIMEOUT_S
    )
    await runner.setup()
    listener.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, settings.host, settings.port)
    try:
        await site.start()
    except OSError as error:
        taken = " (the port is taken)" if error.errno == errno.EADDRINUSE else ""
        message = f"can't listen on {settings.host}:{settings.port}{taken}: {error.strerror}"
        raise RefusedStart(message) from error
    return int(runner.addresses[0][1])


def _announce(port: int, settings: Settings) -> None:
    announcement: Mapping[str, object] = {
        "event": "listening",
        "host": settings.host,
        "port": port,
    }
    sys.stdout.write(json.dumps(announcement) + "\n")
    sys.stdout.flush()
    if settings.port_file is not None:
        _write_whole(settings.port_file, f"{port}\n")


def _write_whole(path: Path, text: str) -> None:
    """Write by rename, so that a reader finds all of it or nothing.

    Raises:
        RefusedStart: the folder can't be written to.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        message = f"the port file {path} can't be written: {error.strerror}"
        raise RefusedStart(message) from error
