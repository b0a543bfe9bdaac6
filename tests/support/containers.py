"""The docker command, and the compose file under a project of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).parents[2]
PREFIX = os.environ.get("SIMCLOUD_IMAGE_PREFIX", "simcloud-")
TAG = os.environ.get("SIMCLOUD_IMAGE_TAG", "dev")
_PORTS = ("S3", "GENERATOR", "UPLOADER", "ROUTER", "MODEL")


def image(name: str) -> str:
    """Name of one of our images."""
    return f"{PREFIX}{name}:{TAG}"


def docker(
    *arguments: str, environment: Mapping[str, str] | None = None, check: bool = True
) -> str:
    """Runs the docker command.

    Args:
        arguments: of the command.
        environment: beside the process's.
        check: whether a failure raises.

    Returns:
        What it printed on standard output.

    Raises:
        AssertionError: it failed; with what it said.
    """
    done = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    if check:
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Project:
    """The compose file, up, on ports of its own."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Runs ``docker compose`` on it; as ``docker`` else."""
        return docker(
            "compose",
            "-p",
            self.name,
            *arguments,
            environment=self.environment,
            check=check,
        )

    def command(self, *arguments: str) -> Sequence[str]:
        """The line that runs the CLI's container."""
        return ("docker", "compose", "-p", self.name, "run", "--rm", "-T", "cli", *arguments)

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        identity = self.compose("ps", "--all", "--quiet", service).strip()
        return cast("dict[str, Any]", json.loads(docker("inspect", identity))[0])

    def kill(self, service: str) -> None:
        """Kills a service's process from outside, as the kernel would: the engine starts it again.

        Not ``docker kill``, after which no restart policy holds.
        """
        os.kill(self.container(service)["State"]["Pid"], signal.SIGKILL)


@contextmanager
def project(name: str, output: Path) -> Iterator[Project]:
    """The whole stack, healthy; gone with its data at the end.

    Args:
        name: of the project.
        output: folder that the CLI's container writes to.
    """
    environment = {f"SIMCLOUD_{port}_PORT": str(_free_port()) for port in _PORTS}
    environment |= {"SIMCLOUD_UID": str(os.getuid()), "SIMCLOUD_GID": str(os.getgid())}
    environment["SIMCLOUD_OUTPUT"] = str(output)
    stack = Project(name, environment)
    try:
        stack.compose("up", "-d", "--no-build", "--wait")
        yield stack
    except BaseException:
        print(stack.compose("logs", "--tail", "40", check=False))  # noqa: T201 - for the report
        raise
    finally:
        stack.compose("down", "-v", "--timeout", "20", check=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
