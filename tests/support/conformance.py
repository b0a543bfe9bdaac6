"""Other people's clients, unmodified, each in an environment of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def client_python(folder: Path) -> Path:
    """Python of a client's environment, which is made when it is missing or its pins changed.

    Args:
        folder: the client's, with its pins.
    """
    command = [sys.executable, str(ROOT / "scripts" / "tool-env"), str(folder)]
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(built.stdout.strip())


def client_program(folder: Path, name: str) -> Path:
    """A program of a client's environment, which is made as by ``client_python``."""
    return client_python(folder).with_name(name)


@dataclass(frozen=True, slots=True)
class Ended:
    """A client that has ended."""

    code: int
    out: str
    err: str

    @property
    def printed(self) -> str:
        """All of it, for a failure's message."""
        return f"{self.out}\n{self.err}"


async def ended(*command: str | Path, **environment: str) -> Ended:
    """Runs a client to its end, good or bad."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def output_of(*command: str | Path, **environment: str) -> str:
    """What a client prints; it must end well."""
    run = await ended(*command, **environment)
    assert run.code == 0, run.printed
    return run.out


async def report_of(script: Path, address: str) -> Any:
    """The one JSON object that a client's script prints as its last line.

    Args:
        script: in its client's folder; run by the client's Python with the address alone.
        address: the router's ``host:port``.
    """
    python = await asyncio.to_thread(client_python, script.parent)
    printed = await output_of(python, script, address)
    return json.loads(printed.splitlines()[-1])
