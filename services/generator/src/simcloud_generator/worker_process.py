"""One worker process as the pool sees it: started, asked, ended when it hangs, reaped."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from simcloud.errors import Bug, NotReady
from simcloud_generator.jobs import Job, WorkerConfiguration, WorkerIdentity
from simcloud_generator.worker import run_worker

_STOP_S = 5.0
"""A worker that is idle ends at once when its pipe ends; one that renders is killed after this:
its frame is not needed any more."""
_SPAWN = multiprocessing.get_context("spawn")


class WorkerProcess:
    """A worker that has said who it is; made by :func:`start_worker`."""

    def __init__(
        self,
        *,
        process: SpawnProcess,
        connection: Connection,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._process = process
        self._connection = connection
        self._threads = threads
        self._exchange: Future[object] | None = None
        """The last; it may go on when nobody waits for it any more."""
        self.frames = 0
        """Rendered so far; the pool counts."""
        self.hung = False
        """Whether it was killed because it took too long."""

    @property
    def exit_code(self) -> int | None:
        """None while it lives; minus the signal that ended it."""
        return self._process.exitcode

    async def ask(self, job: Job, timeout_s: float) -> object:
        """The worker's answer to a job.

        Args:
            job: what is to be done.
            timeout_s: after which it is killed; 0: never.

        Raises:
            EOFError: it ended, or was ended since it took longer than the timeout.
            OSError: likewise.
        """

        def exchange() -> object:
            self._connection.send(job)
            return self._connection.recv()

        return await self._watched(exchange, timeout_s)

    async def identity(self, timeout_s: float) -> object:
        """Its first message: who it is, or why it can't render; raises as :meth:`ask`."""
        return await self._watched(self._connection.recv, timeout_s)

    async def _watched(self, exchange: Callable[[], object], timeout_s: float) -> object:
        """Runs a blocking exchange in a thread.

        A worker that takes too long is killed, and its pipe ended: a hang ends as a death does.
        """
        loop = asyncio.get_running_loop()
        watchdog = loop.call_later(timeout_s, self._end_hang) if timeout_s else None
        try:
            self._exchange = self._threads.submit(exchange)
            return await asyncio.wrap_future(self._exchange)
        finally:
            if watchdog is not None:
                watchdog.cancel()

    def _end_hang(self) -> None:
        self.hung = True
        self.kill()

    def kill(self) -> None:
        """Ends it now, and its pipe: a thread that reads or writes there meets the end as well."""
        self._process.kill()  # SIGKILL ends a stopped process as well
        _shut(self._connection, socket.SHUT_RDWR)

    async def stop(self) -> None:
        """Ends it, within five seconds; called once. A cancel ends the waiting alone."""
        await asyncio.to_thread(self._reap)

    def _reap(self) -> None:
        """Tells it to end, sees to it, and closes the pipe when nobody reads it any more.

        Closed while a thread is between two reads of one answer, the descriptor's number may be
        another file's at the second one.
        """
        _shut(self._connection, socket.SHUT_WR)
        self._process.join(_STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        _shut(self._connection, socket.SHUT_RD)
        if self._exchange is not None:
            wait([self._exchange])
        self._connection.close()


async def start_worker(
    *, threads: ThreadPoolExecutor, configuration: WorkerConfiguration, timeout_s: float
) -> tuple[WorkerProcess, WorkerIdentity]:
    """Starts a worker and waits until it can render.

    Args:
        threads: in which its pipe is waited for.
        configuration: the worker's.
        timeout_s: seconds for its start, after which it is killed; 0: never.

    Raises:
        NotReady: the machine has no room for one, or it ended before it was ready.
        SimcloudError: why it can't render, in its own words.
    """
    try:
        process, ours = _spawned(configuration)
    except OSError as error:  # EMFILE, EAGAIN, ENOMEM
        raise NotReady(
            f"a renderer process can't be started: {error}; raise the service's limit of files, "
            "processes or memory, or stop what else takes them"
        ) from error
    worker = WorkerProcess(process=process, connection=ours, threads=threads)
    try:
        identity = await worker.identity(timeout_s)
    except asyncio.CancelledError:
        worker.kill()  # nobody waits for it any more
        await worker.stop()
        raise
    except (EOFError, OSError) as error:
        await worker.stop()
        found = (
            f"was not ready within {timeout_s:g} s"
            if worker.hung
            else f"ended with code {worker.exit_code} before it was ready"
        )
        raise NotReady(f"a renderer process {found}") from error
    if isinstance(identity, Exception):
        await worker.stop()
        raise identity
    if not isinstance(identity, WorkerIdentity):
        raise Bug(f"a worker began with {type(identity).__name__}")
    return worker, identity


def _spawned(configuration: WorkerConfiguration) -> tuple[SpawnProcess, Connection]:
    """A process that has begun, and our end of its pipe; nothing stays open of one that can't."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(
        target=run_worker, args=(theirs, configuration), name="simcloud-renderer", daemon=True
    )
    try:
        process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def _shut(connection: Connection, how: int) -> None:
    """Ends one direction of a pipe: who reads there reads its end.

    A worker's death alone does not always do that: its end of the pipe is open in the processes
    that its renderer has started, too, as ``multiprocessing`` passes it on to be inherited.

    Args:
        connection: our end. What has come already can still be read.
        how: ``SHUT_WR``: the worker gets no more jobs; ``SHUT_RD``: nothing more is read here;
            ``SHUT_RDWR``: both.
    """
    pipe = socket.socket(fileno=connection.fileno())
    try:
        pipe.shutdown(how)
    finally:
        pipe.detach()
