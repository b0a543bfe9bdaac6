"""Addresses to listen on: taken at once, so that a taken one is an error at the start."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# What the kernel keeps of connections that nobody has accepted yet; it takes less where it must.
BACKLOG: Final = 4096
_UNIX: Final = "unix:"


@dataclass(frozen=True, slots=True)
class Bound:
    """An address that was taken."""

    sockets: tuple[socket.socket, ...]
    """They listen; a name that resolves to several addresses has one for each."""
    port: int
    """0 for a Unix socket."""
    path: Path | None = None
    """Of a Unix socket."""
    backlog: int = BACKLOG
    file: tuple[int, int] | None = None
    """Device and inode of that path, by which it is known as ours."""

    def withdraw(self) -> None:
        """Takes away its path, unless that is someone else's by now.

        Before the sockets are closed: as long as they listen nobody takes the path for left over,
        and the file system gives the inode to no other.
        """
        if self.path is not None and _file_of(self.path) == self.file:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Gives it back."""
        for each in self.sockets:
            each.close()


def _file_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def bind(address: str, *, reuse_port: bool) -> Bound:
    """Takes an address.

    Args:
        address: ``host:port``, ``[v6]:port`` or ``unix:/path``; port 0 takes a free one.
        reuse_port: whether other processes may take it too (SO_REUSEPORT).

    Raises:
        OSError: it is taken, is not of this machine, or is none.
    """
    if address.startswith(_UNIX):
        return _bind_path(Path(address.removeprefix(_UNIX)))
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise OSError(f"{address!r} is neither host:port nor unix:/path")
    found = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    taken = int(port)
    with ExitStack() as undo:
        sockets = []
        # One of each: a resolver may name an address twice.
        for family, target in dict.fromkeys((each[0], each[4]) for each in found):
            listener = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            _listen(listener, (target[0], taken, *target[2:]), reuse_port=reuse_port)
            taken = listener.getsockname()[1]
            sockets.append(listener)
        undo.pop_all()
    return Bound(tuple(sockets), taken)


def _listen(listener: socket.socket, target: tuple[object, ...], *, reuse_port: bool) -> None:
    # A port whose last connections still time out may be taken; one that listens may not.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if listener.family == socket.AF_INET6:
        # [::] serves both kinds, as with gRPC's own servers.
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setblocking(False)
    listener.bind(target)
    listener.listen(BACKLOG)


def _bind_path(path: Path) -> Bound:
    with ExitStack() as undo:
        listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        if _is_left_over(path):
            path.unlink()
        listener.setblocking(False)
        listener.bind(os.fspath(path))
        listener.listen(BACKLOG)
        file = _file_of(path)
        undo.pop_all()
    return Bound((listener,), 0, path, file=file)


def _is_left_over(path: Path) -> bool:
    """Whether a socket is there and nobody listens on it: its process was killed."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return True
    return False
