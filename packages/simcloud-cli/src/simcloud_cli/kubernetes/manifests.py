"""The Job of a run, rendered by kustomize from an overlay on `deploy/k8s/run-job`.

The manifests are the overlay's alone. What depends on the run (its name, its place in S3, how many
pods, which shards) is a last layer on it, written for one rendering.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from simcloud.accounting.plan import selection_of, task_count
from simcloud.dataset.layout import RunLocation
from simcloud.errors import InvalidRequest
from simcloud.spec.canonical import digest
from simcloud.spec.plan import Plan
from simcloud_cli.kubernetes.kubectl import Kubectl, Manifest

RUN_LABEL = "simcloud.dev/run"
ATTEMPT_LABEL = "simcloud.dev/attempt"
CONTAINER = "run"
"""Of `run-job`: the container whose command is a run's."""
SETTINGS = "simcloud-run"
"""Of `run-job`: the ConfigMap that this container reads."""

_MAX_SELECTION_CHARS = 60_000
"""Linux takes 128 KiB for one argument of a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """An overlay for runs, rendered as it stands."""

    folder: Path
    items: tuple[Manifest, ...]
    job: Manifest
    settings: dict[str, str]
    """Of its run: `FRAMES`, `SHARDS_PER_TASK`, `SIMCLOUD_CONTEXT_*`."""

    @property
    def namespace(self) -> str:
        """Where its Job is made."""
        return str(self.job["metadata"].get("namespace", "default"))

    @property
    def shards_per_task(self) -> int:
        """Shards of a pod, as the overlay has it."""
        text = self.settings.get("SHARDS_PER_TASK", "1")
        if not text.isdecimal() or int(text) < 1:
            raise InvalidRequest(
                f"{self.folder}: {SETTINGS}: SHARDS_PER_TASK", f"{text!r} is not 1 or more"
            )
        return int(text)

    @property
    def parallelism(self) -> int:
        """Pods at once, as the overlay has it."""
        return int(self.job["spec"].get("parallelism", 1))

    @property
    def wants_gpu(self) -> bool:
        """Whether a container of its Job asks for an NVIDIA GPU."""
        return any(
            "nvidia.com/gpu" in container.get("resources", {}).get("limits", {})
            for container in containers(self.job)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob:
    """One Job of a run."""

    location: RunLocation
    plan: Plan
    shards: tuple[int, ...]
    """Those that it is to make, ascending; at least one, and ``nameable``."""
    shards_per_task: int
    parallelism: int
    attempt: int
    """From 1; a run whose Job ended with shards missing gets another."""
    allow_mixed_fingerprints: bool
    allow_quarantine: int

    @property
    def completions(self) -> int:
        """Indexes, each a range of the shards."""
        return task_count(len(self.shards), self.shards_per_task)

    @property
    def name(self) -> str:
        """Name of the Job: the same run and attempt have the same."""
        return f"{run_label(self.location)}-{self.attempt}"

    def arguments(self) -> list[str]:
        """The command of its pods: they need the run's place in S3 and nothing else of it."""
        words = [
            "resume",
            self.location.uri,
            f"--shards=auto:{selection_of(self.shards)}",
            f"--shards-per-task={self.shards_per_task}",
            f"--allow-quarantine={self.allow_quarantine}",
            "--no-score",
            "--output=/tmp/output",  # the pod's own volume
        ]
        return [*words, "--allow-mixed-fingerprints"] if self.allow_mixed_fingerprints else words


def run_label(location: RunLocation) -> str:
    """What a run's Jobs are labelled with: its name as DNS has it, and a digest of where it is.

    At most 49 characters: with an attempt and an index it is still a host's name (63).
    """
    plain = re.sub(r"[^a-z0-9]+", "-", location.run).strip("-")[:40].rstrip("-") or "run"
    return f"{plain}-{digest(location.uri.encode())[:8]}"


def nameable(shards: tuple[int, ...]) -> tuple[int, ...]:
    """Shards that a command line can name; where theirs are too many ranges, gaps are closed.

    What is stored already costs a pod nothing but the look.
    """
    gap = 1
    closed = shards
    while len(selection_of(closed)) > _MAX_SELECTION_CHARS:
        gap *= 2
        closed = _closed(shards, gap)
    return closed


def containers(job: Manifest) -> list[Manifest]:
    """All containers of a Job's pods."""
    pod = job["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


async def read_overlay(kubectl: Kubectl, folder: Path, namespace: str | None) -> Overlay:
    """Renders an overlay as it stands.

    Raises:
        InvalidRequest: it can't be rendered, or makes no run; the mend is said.
        PreconditionFailed: kubectl is not installed.
    """
    layer: Manifest = {} if namespace is None else {"namespace": namespace}
    items = await _render(kubectl, folder, layer)
    jobs = [item for item in items if item.get("kind") == "Job"]
    if len(jobs) != 1:
        raise InvalidRequest(
            "--overlay",
            f"{folder} makes {len(jobs)} Jobs, a run is one: put deploy/k8s/run-job among its "
            "resources, once",
        )
    job = jobs[0]
    names = [container["name"] for container in job["spec"]["template"]["spec"]["containers"]]
    settings = [
        item
        for item in items
        if item.get("kind") == "ConfigMap" and _without_hash(item["metadata"]["name"]) == SETTINGS
    ]
    if job["spec"].get("completionMode") != "Indexed" or CONTAINER not in names or not settings:
        raise InvalidRequest(
            "--overlay",
            f"{folder}: its Job is not the one of deploy/k8s/run-job (an Indexed Job with a "
            f"container {CONTAINER!r} and the ConfigMap {SETTINGS!r}): build on that",
        )
    return Overlay(folder=folder, items=items, job=job, settings=settings[0].get("data", {}))


async def render_run(
    kubectl: Kubectl, overlay: Overlay, job: RunJob, namespace: str
) -> tuple[Manifest, ...]:
    """The manifests of one Job of a run, the Job last.

    Raises:
        InvalidRequest: kustomize refuses it.
    """
    location, plan = job.location, job.plan
    labels = {RUN_LABEL: run_label(location), ATTEMPT_LABEL: str(job.attempt)}
    literals = {
        "SPEC": f"s3://{location.bucket}/{location.spec_key}",
        "RUN": location.uri,
        "FRAMES": plan.frames,
        "FRAMES_PER_SHARD": plan.frames_per_shard,
        "SHARDS_PER_TASK": job.shards_per_task,
        "SIMCLOUD_CONTEXT_BUCKET": location.bucket,
        "SIMCLOUD_CONTEXT_PREFIX": location.prefix,
    }
    patch: Manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.name, "labels": labels},
        "spec": {
            "completions": job.completions,
            "parallelism": min(job.parallelism, job.completions),
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": CONTAINER, "args": job.arguments()}]},
            },
        },
    }
    most = overlay.job["spec"].get("maxFailedIndexes")
    if most is not None:
        # The API server refuses more of them than there are indexes.
        patch["spec"]["maxFailedIndexes"] = min(most, job.completions)
    layer: Manifest = {
        "namespace": namespace,
        "configMapGenerator": [
            {
                "name": SETTINGS,
                "behavior": "merge",
                "literals": [f"{name}={value}" for name, value in literals.items()],
                "options": {"labels": labels},
            }
        ],
        "patches": [
            {
                "target": {"kind": "Job"},
                "options": {"allowNameChange": True},
                "patch": yaml.safe_dump(patch),
            }
        ],
    }
    items = await _render(kubectl, overlay.folder, layer)
    return tuple(sorted(items, key=lambda item: item["kind"] == "Job"))


def as_yaml(items: tuple[Manifest, ...]) -> str:
    """Manifests as one document."""
    return yaml.safe_dump_all(items, sort_keys=False)


async def _render(kubectl: Kubectl, folder: Path, layer: Manifest) -> tuple[Manifest, ...]:
    """The folder with a layer on it."""
    with _layered(folder, layer) as base:
        answer = await kubectl.answer("kustomize", str(base))
        if answer.status != 0:
            said = answer.err.replace(str(base), "the run's layer").strip()
            raise InvalidRequest("--overlay", f"{folder} can't be rendered: {_last(said)}")
    return tuple(item for item in yaml.safe_load_all(answer.out) if item)


@contextmanager
def _layered(folder: Path, layer: Manifest) -> Iterator[Path]:
    """A kustomization of a folder and a layer, as long as the block lasts.

    Raises:
        InvalidRequest: there is no such folder.
    """
    if not folder.is_dir():
        raise InvalidRequest(
            "--overlay",
            f"there is no folder {folder}: name a kustomization on deploy/k8s/run-job, such as "
            "deploy/k8s/overlays/kind-run",
        )
    with tempfile.TemporaryDirectory(prefix="simcloud-") as name:
        base = Path(name).resolve()
        # Kustomize takes no absolute paths.
        content = {"resources": [os.path.relpath(folder.resolve(), base)], **layer}
        (base / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        yield base


def _last(said: str) -> str:
    return " ".join(said.removeprefix("error: ").split())


def _without_hash(name: str) -> str:
    """A generated ConfigMap's name without the digest of its content."""
    return re.sub(r"-[a-z0-9]{10}$", "", name)


def _closed(shards: tuple[int, ...], gap: int) -> tuple[int, ...]:
    filled = [shards[0]]
    for shard in shards[1:]:
        if shard - filled[-1] <= gap:
            filled += range(filled[-1] + 1, shard)
        filled.append(shard)
    return tuple(filled)


def check_region(overlay: Overlay, region: str) -> None:
    """Returns when pods write where we read.

    Raises:
        InvalidRequest: the overlay's region is another than the context's.
    """
    theirs = overlay.settings.get("SIMCLOUD_CONTEXT_S3__REGION", region)
    if theirs != region:
        raise InvalidRequest(
            "--overlay",
            f"{overlay.folder} has region {theirs}, the context {region}: set "
            "SIMCLOUD_CONTEXT_S3__REGION there, or s3.region here, to the bucket's",
        )
