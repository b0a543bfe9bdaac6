"""The folder of the embedded stack: who runs it, where it listens, what it keeps.

``<state>/lock`` is held (flock) by the process that runs the stack for as long as it lives, so a
stack is running exactly when the lock is held; ``stack.json`` then says where. A ``stack.json``
without a held lock was left by a process that was killed: it is stale and ignored.

Another command may use that stack: it holds ``<state>/users`` shared meanwhile. Who runs the stack
takes the announcement back first and then waits for the users to be gone; a user that has the lock
and still finds the announcement is therefore waited for.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from simcloud.errors import AlreadyExists, NotReady, PreconditionFailed

MIN_FREE_BYTES = 1 << 30
"""A run of the demo writes some 100 MB; S3's server itself preallocates volumes."""


@dataclass(frozen=True, slots=True)
class StackInfo:
    """Where a running stack listens; empty for what was not started."""

    pid: int
    generator: str
    uploader: str
    router: str
    s3_endpoint: str
    model_endpoint: str
    bucket: str
    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a folder."""

    pid: int
    command: str
    """Its command line."""
    serves: bool
    """Whether it was started to serve others, and so ends only when it is stopped."""

    def __str__(self) -> str:
        return f"process {self.pid}, `{self.command}`"


class StackHeld(AlreadyExists):
    """Another process runs a stack in the folder."""

    reason = "STACK_HELD"


class StateDir:
    """The embedded stack's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.path / "logs"

    @property
    def ports(self) -> Path:
        """Port files of the services."""
        return self.path / "ports"

    @property
    def data(self) -> Path:
        """What S3 keeps between runs."""
        return self.path / "s3"

    def prepare(self, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        """Makes the folders and looks for room.

        Raises:
            PreconditionFailed: not writable, or less free space than ``min_free_bytes``.
        """
        try:
            for folder in (self.path, self.logs, self.ports, self.data):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PreconditionFailed(
                f"state folder {self.path} can't be made: {error.strerror}; "
                "name another with --state-dir"
            ) from error
        free = shutil.disk_usage(self.path).free
        if free < min_free_bytes:
            raise PreconditionFailed(
                f"state folder {self.path} has {free / 2**20:.0f} MiB free, "
                f"{min_free_bytes / 2**20:.0f} MiB are needed: free some space, or name a folder "
                "on another disk with --state-dir"
            )

    def running(self) -> StackInfo | None:
        """The stack that runs here now, if any.

        Raises:
            NotReady: one is starting and doesn't say yet where it listens.
        """
        if not self._locked():
            return None
        info = self._announced()
        if info is None:
            raise NotReady(
                f"another simcloud is starting or stopping the stack in {self.path} "
                f"({self._holder_in_words()}): wait for it, or name another folder with --state-dir"
            )
        return info

    def holder(self) -> Holder | None:
        """Who holds the folder, or held it last; None when it doesn't say."""
        try:
            return Holder(**json.loads((self.path / "lock").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _holder_in_words(self) -> str:
        return str(self.holder() or "its process does not say yet which one it is")

    def _announced(self) -> StackInfo | None:
        try:
            return StackInfo(**json.loads((self.path / "stack.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _locked(self) -> bool:
        with self._flocked("lock", fcntl.LOCK_EX) as free:
            return not free

    @contextmanager
    def share(self) -> Iterator[StackInfo | None]:
        """The stack that runs here, which stays within the block; None: none, or not now."""
        if not self.path.is_dir():
            yield None
            return
        with self._flocked("users", fcntl.LOCK_SH) as shared:
            yield self._announced() if shared and self._locked() else None

    def is_used(self) -> bool:
        """Whether another command uses the stack; asked by who runs it, after ``forget``."""
        with self._flocked("users", fcntl.LOCK_EX) as free:
            return not free

    @contextmanager
    def _flocked(self, name: str, how: int) -> Iterator[bool]:
        """Whether a lock of the folder could be had at once; it is held within the block."""
        try:
            handle = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # no folder yet
            yield True
            return
        with closing(os.fdopen(handle)):
            try:
                fcntl.flock(handle, how | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                    raise
                yield False
            else:
                yield True

    @contextmanager
    def hold(self, *, serves: bool = False) -> Iterator[None]:
        """Holds the folder for one stack; what a dead one left is cleared.

        Args:
            serves: the stack is there for other commands, until it is stopped.

        Raises:
            StackHeld: a stack runs here.
        """
        with self._flocked("lock", fcntl.LOCK_EX) as ours:
            if not ours:
                raise StackHeld(
                    f"a stack is already running in {self.path} ({self._holder_in_words()}): stop "
                    "it, or name another folder with --state-dir"
                )
            me = Holder(os.getpid(), shlex.join(["simcloud", *sys.argv[1:]]), serves)
            (self.path / "lock").write_text(json.dumps(asdict(me)) + "\n")
            self.forget()
            for stale in self.ports.glob("*.json"):
                stale.unlink(missing_ok=True)
            try:
                yield
            finally:
                # Before the lock goes: what the next holder announces is not ours to take back.
                self.forget()
                (self.path / "lock").write_text("")

    def announce(self, info: StackInfo) -> None:
        """Says where the stack listens, atomically; readable by this user alone."""
        target = self.path / "stack.json"
        partial = target.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(asdict(info), indent=1) + "\n")
        partial.replace(target)

    def forget(self) -> None:
        """Takes the announcement back."""
        (self.path / "stack.json").unlink(missing_ok=True)
