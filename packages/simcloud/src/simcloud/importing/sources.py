"""A local folder or a bucket prefix, read file by file, each held to its first reading."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from pathlib import Path

from simcloud.errors import InvalidRequest, NotFound
from simcloud.importing.types import ImportLimits, Problems, Source, SourceFile
from simcloud.s3.objects import ObjectStore
from simcloud.spec.canonical import canonical_bytes, digest


class LocalSource:
    """A folder on this machine. Links that lead out of it are problems, never followed."""

    def __init__(self, folder: Path, limits: ImportLimits) -> None:
        self._folder = folder.resolve()
        self._limits = limits
        if not self._folder.is_dir():
            raise NotFound(f"{folder} is not a folder: name the folder that holds the pictures")

    @property
    def label(self) -> str:
        """The folder's path."""
        return str(self._folder)

    async def files(self, problems: Problems) -> list[SourceFile]:
        """All regular files but hidden ones, by name.

        Raises:
            InvalidRequest: more files than the limit.
        """
        return await asyncio.to_thread(self._files, problems)

    async def read(self, name: str, *, limit: int) -> bytes:
        """A whole file.

        Raises:
            InvalidRequest: it can't be read, leads out of the folder, or is too large.
        """
        return await asyncio.to_thread(self._read, name, limit)

    def _files(self, problems: Problems) -> list[SourceFile]:
        found: list[SourceFile] = []
        for parent, folders, names in os.walk(self._folder):
            base = Path(parent)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in folders:
                if (base / name).is_symlink():
                    problems.add(self._name(base / name), "is a link to a folder: not followed")
            for name in sorted(names):
                if not name.startswith("."):
                    self._look(base / name, found, problems)
            if len(found) > self._limits.files:
                raise InvalidRequest(self.label, f"has more than {self._limits.files} files")
        return sorted(found, key=lambda item: item.name)

    def _look(self, path: Path, found: list[SourceFile], problems: Problems) -> None:
        name = self._name(path)
        if not path.resolve().is_relative_to(self._folder):
            problems.add(name, "is a link that leads out of the folder", picture=name)
            return
        try:
            status = path.stat()
        except OSError as error:
            problems.add(name, f"can't be looked at: {error.strerror}", picture=name)
            return
        if stat.S_ISREG(status.st_mode):
            found.append(SourceFile(name=name, size_bytes=status.st_size))
        else:
            problems.add(name, "is no regular file", picture=name)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _read(self, name: str, limit: int) -> bytes:
        path = self._folder / name
        try:
            if not path.resolve().is_relative_to(self._folder):
                raise InvalidRequest(name, "leads out of the folder")
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise InvalidRequest(name, f"can't be read: {error.strerror}") from error
        return _bounded(name, data, limit)


class BucketSource:
    """Everything below a bucket prefix."""

    def __init__(
        self, store: ObjectStore, bucket: str, prefix: str, *, limits: ImportLimits
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._limits = limits
        self._sizes: dict[str, int] = {}

    @property
    def label(self) -> str:
        """The ``s3://`` URI."""
        return f"s3://{self._bucket}/{self._prefix}"

    async def files(self, problems: Problems) -> list[SourceFile]:
        """All objects but hidden ones, by name.

        Raises:
            InvalidRequest: more objects than the limit.
            NotFound: no such bucket.
        """
        found: list[SourceFile] = []
        async for row in self._store.list_keys(self._bucket, self._prefix):
            name = row.key[len(self._prefix) :]
            parts = name.split("/")
            if not name or name.endswith("/") or any(part.startswith(".") for part in parts):
                if ".." in parts:
                    problems.add(row.key, "is no name of a file", picture=name)
                continue
            found.append(SourceFile(name=name, size_bytes=row.size_bytes))
            if len(found) > self._limits.files:
                raise InvalidRequest(self.label, f"has more than {self._limits.files} objects")
        self._sizes = {item.name: item.size_bytes for item in found}
        return sorted(found, key=lambda item: item.name)

    async def read(self, name: str, *, limit: int) -> bytes:
        """A whole object; too large a one is not even asked for.

        Raises:
            InvalidRequest: it is too large.
            NoSuchKey: it is gone.
        """
        if self._sizes.get(name, 0) > limit:
            raise InvalidRequest(name, f"has {self._sizes[name]} bytes; at most {limit} are read")
        body = await self._store.get(self._bucket, self._prefix + name)
        return _bounded(name, body.data, limit)


class CheckedSource:
    """A source whose files must stay as they were when they were first read.

    What was read so far is the identity of an import: see :meth:`digest`.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        # Mutable: what each file was when it was read first, by name.
        self._seen: dict[str, tuple[int, str]] = {}

    @property
    def label(self) -> str:
        """That of the source."""
        return self._source.label

    async def files(self, problems: Problems) -> list[SourceFile]:
        """Those of the source."""
        return await self._source.files(problems)

    async def read(self, name: str, *, limit: int) -> bytes:
        """A whole file.

        Raises:
            InvalidRequest: it can't be read, is too large, or has changed since the first time.
        """
        data = await self._source.read(name, limit=limit)
        found = (len(data), await asyncio.to_thread(_sha256, data))
        if self._seen.setdefault(name, found) != found:
            raise InvalidRequest(
                name, "has changed while it was imported: import what is there now as another run"
            )
        return data

    def digest(self) -> str:
        """SHA-256 over RFC 8785 JSON of [name, size, SHA-256] of every file read, by name."""
        rows = [[name, size, sha256] for name, (size, sha256) in sorted(self._seen.items())]
        return digest(canonical_bytes(rows))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bounded(name: str, data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise InvalidRequest(name, f"has more than {limit} bytes, the most that is read")
    return data
