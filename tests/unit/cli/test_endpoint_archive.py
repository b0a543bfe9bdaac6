"""model.tar.gz: the same members, the same bytes; any reader reads it."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from simcloud_cli.endpoints.archive import write_archive


def test_the_bytes_depend_on_the_members_alone(tmp_path: Path) -> None:
    weights = tmp_path / "weights.onnx"
    weights.write_bytes(bytes(range(256)) * 1000)
    first = write_archive(tmp_path / "a.tar.gz", {"b": b"2", "w.onnx": weights, "a/c": b"1"})
    os.utime(weights, (1, 1))
    weights.chmod(0o600)
    second = write_archive(tmp_path / "b.tar.gz", {"a/c": b"1", "w.onnx": weights, "b": b"2"})
    assert first.sha256 == second.sha256
    assert first.path.read_bytes() == second.path.read_bytes()
    assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256
    assert first.path.stat().st_size == first.size_bytes


def test_the_bytes_are_those_of_every_machine(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", {"model.json": b"{}"})
    golden = "a4ee891dec45be8c1c9d26a4bf1766d95b7e498baa0ce4cee2ecbc8714b18825"
    assert archive.sha256 == golden


def test_any_reader_reads_it(tmp_path: Path) -> None:
    long = os.urandom(200_000)
    archive = write_archive(tmp_path / "a.tar.gz", {"long": long, "empty": b""})
    with gzip.open(archive.path) as stream:
        assert len(stream.read()) > len(long)
    with tarfile.open(archive.path, "r:gz") as tar:
        assert tar.getnames() == ["empty", "long"]
        members = tar.getmembers()
        assert {(item.mtime, item.uid, item.uname, item.mode) for item in members} == {
            (0, 0, "", 0o644)
        }
        found = tar.extractfile("long")
        assert found is not None
        assert found.read() == long


def test_nothing_is_left_of_one_that_failed(tmp_path: Path) -> None:
    missing = tmp_path / "gone"
    with pytest.raises(FileNotFoundError):
        write_archive(tmp_path / "a.tar.gz", {"gone": missing})
    assert list(tmp_path.iterdir()) == []
