"""What the router's benchmarks share: processes on cores of their own, and their CPU time."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from endpoint import FLOATS, MODEL

from simcloud.oip.service import METHODS
from simcloud.oip.tensors import new

HERE: Final = Path(__file__).parent
INFER_PATH: Final = METHODS["ModelInfer"].path
TICKS: Final = os.sysconf("SC_CLK_TCK")

ENVOY_HOP_MS: Final = 0.35
"""Istio's documentation 1.10 to 1.15, "Performance and Scalability": a sidecar uses 0.35 vCPU for
1000 requests a second of 1 KB. Printed beside ours, not measured here."""

_KEYS: Final = {
    "SIMCLOUD_INFERENCE_ROUTER_SAGEMAKER__ACCESS_KEY_ID": "AKIDBENCH",
    "SIMCLOUD_INFERENCE_ROUTER_SAGEMAKER__SECRET_ACCESS_KEY": "secret",
}


def options(
    doc: str | None, *, quick: Mapping[str, float], as_json: bool = False, **numbers: float
) -> argparse.Namespace:
    """What a benchmark was asked for; puts this process on the core of clients and endpoints.

    Args:
        doc: its module's.
        quick: numbers that ``--quick`` sets.
        as_json: whether it can write its figures as JSON.
        numbers: an option each, with its default.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--core", type=int, default=0, help="of what is measured")
    parser.add_argument("--other-core", type=int, default=1, help="of clients and endpoints")
    sets = ", ".join(f"{name.replace('_', ' ')} {number:g}" for name, number in quick.items())
    parser.add_argument("--quick", action="store_true", help=sets)
    if as_json:
        parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(quick)
    os.sched_setaffinity(0, {arguments.other_core})
    return arguments


@dataclass(frozen=True, slots=True)
class Peer:
    """A process that listens."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """Time on a core so far, of all its threads, user and system, to the nanosecond."""
        total = 0
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(OSError):
                total += int((thread / "schedstat").read_text().split()[0])
        return total / 1e9

    def waited_s(self) -> float:
        """Time that its main thread has waited for a core that another process had."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9

    def memory_mib(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def core_idle_s(core: int) -> float:
    """Time for which nobody wanted a core so far."""
    fields = _core_times(core)
    return (fields[3] + fields[4]) / TICKS


def core_stolen_s(core: int) -> float:
    """Time for which a hypervisor gave a core to others, to a tick."""
    return _core_times(core)[7] / TICKS


def _core_times(core: int) -> list[int]:
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            return [int(field) for field in fields]
    raise ValueError(f"there is no core {core}")


def request() -> Any:
    """A ModelInferRequest of 1 KiB."""
    message = new("ModelInferRequest")
    message.model_name, message.id = MODEL, "request-1"
    message.inputs.add(name="x", datatype="FP32", shape=[1, FLOATS])
    message.raw_input_contents.append(bytes(4 * FLOATS))
    return message


@contextmanager
def started(
    core: int,
    command: list[str],
    log: Path,
    *,
    port_file: Path | None = None,
    python: str = sys.executable,
    **environment: str,
) -> Iterator[Peer]:
    """A process pinned to one core; its port is in its first line, or in its port file."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), python, *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment},
            text=True,
        )
        try:
            port = _first_line(process) if port_file is None else _file_port(process, port_file)
            if port is None:
                raise RuntimeError(f"{command} did not start:\n{log.read_text()[-2000:]}")
            yield Peer(process.pid, port)
        finally:
            process.terminate()
            process.wait(30)


def _first_line(process: subprocess.Popen[str]) -> int | None:
    assert process.stdout is not None
    line = process.stdout.readline()
    return int(json.loads(line)["port"]) if line else None


def _file_port(process: subprocess.Popen[str], path: Path) -> int | None:
    while not path.exists():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            return None
    return int(json.loads(path.read_text())["grpc"])


@contextmanager
def router(
    core: int,
    folder: Path,
    endpoint: Peer,
    *more: str,
    name: str = "router",
    changes: Mapping[str, object] | None = None,
) -> Iterator[Peer]:
    """The router as it is shipped, in front of one endpoint.

    Args:
        core: where it runs.
        folder: of its catalogue and log.
        endpoint: where its one model is served.
        more: further flags.
        name: of its files in the folder.
        changes: to its model's entry of the catalogue.
    """
    tensor = {"datatype": "FP32", "shape": [-1, FLOATS]}
    model = {
        "name": MODEL,
        "task": "object_detection",
        "digest": "0" * 64,
        "max_batch_size": 8,
        "inputs": [{"name": "x", **tensor}],
        "outputs": [{"name": "y", **tensor}],
        "targets": [{"name": MODEL, "kind": "sagemaker", "endpoint": MODEL}],
        **(changes or {}),
    }
    catalog, ports = folder / f"{name}.yaml", folder / f"{name}.json"
    catalog.write_text(yaml.safe_dump({"models": [model]}))
    command = [
        *("-m", "simcloud_inference_router", "--port-file", str(ports)),
        *("--catalog", str(catalog)),
        *("--sagemaker-endpoint-url", f"http://127.0.0.1:{endpoint.port}"),
        *(more if "--listen" in more else ("--listen", "127.0.0.1:0", *more)),
    ]
    with started(core, command, folder / f"{name}.log", port_file=ports, **_KEYS) as peer:
        yield peer


@contextmanager
def endpoint(core: int, folder: Path, *more: str) -> Iterator[Peer]:
    """The endpoint behind the router; ``more`` as ``endpoint.py`` takes it."""
    with started(core, [str(HERE / "endpoint.py"), *more], folder / "endpoint.log") as peer:
        yield peer
