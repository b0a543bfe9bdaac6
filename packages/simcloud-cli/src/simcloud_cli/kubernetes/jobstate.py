"""What a Job and its pods say of themselves, and what a person makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from simcloud_cli.exit_codes import MEANINGS, ExitCode
from simcloud_cli.kubernetes.kubectl import Manifest, one_line
from simcloud_cli.kubernetes.manifests import ATTEMPT_LABEL

INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
_PULL = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"}
_CREATE = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


class Phase(StrEnum):
    """Where a Job is."""

    ACTIVE = "active"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A Job."""

    name: str
    attempt: int
    phase: Phase
    reason: str
    """Why it failed; empty otherwise."""
    message: str
    completions: int
    active: int
    """Pods that wait or run."""
    ready: int
    succeeded: int
    failed_indexes: tuple[int, ...]
    suspended: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a pod from its work, or ended it."""

    pod: str
    kind: str
    """Upper camel case, as Kubernetes says it."""
    line: str
    """What happened and what mends it."""


def job_state(job: Manifest) -> JobState:
    """The state of a Job by its status."""
    spec, status = job["spec"], job.get("status", {})
    phase, reason, message = Phase.ACTIVE, "", ""
    for condition in status.get("conditions", []):
        if condition.get("status") != "True":
            continue
        # SuccessCriteriaMet and FailureTarget come before, while pods still end.
        if condition["type"] == "Complete":
            phase = Phase.COMPLETE
        elif condition["type"] == "Failed":
            phase = Phase.FAILED
            reason, message = condition.get("reason", ""), condition.get("message", "")
    label = job["metadata"].get("labels", {}).get(ATTEMPT_LABEL, "1")
    return JobState(
        name=job["metadata"]["name"],
        attempt=int(label) if label.isdecimal() else 1,
        phase=phase,
        reason=reason,
        message=message,
        completions=spec.get("completions", 1),
        active=status.get("active", 0),
        ready=status.get("ready", 0),
        succeeded=status.get("succeeded", 0),
        failed_indexes=tuple(_indexes(status.get("failedIndexes", ""))),
        suspended=spec.get("suspend", False),
    )


def newest(jobs: Sequence[Manifest]) -> JobState | None:
    """The Job of the last attempt; None when there is none."""
    states = [job_state(job) for job in jobs]
    return max(states, key=lambda state: state.attempt, default=None)


def troubles(pods: Sequence[Manifest]) -> Iterator[Trouble]:
    """What is wrong with pods; nothing of those that work or have worked."""
    for pod in pods:
        name = pod["metadata"]["name"]
        index = pod["metadata"].get("annotations", {}).get(INDEX_ANNOTATION, "?")
        found = _of_pod(pod)
        if found is not None:
            kind, line = found
            yield Trouble(name, kind, f"pod {name} (index {index}): {line}")


def _of_pod(pod: Manifest) -> tuple[str, str] | None:
    status = pod.get("status", {})
    conditions = {item["type"]: item for item in status.get("conditions", [])}
    disrupted = conditions.get("DisruptionTarget", {})
    if disrupted.get("status") == "True":
        return "DisruptionTarget", (
            f"interrupted ({disrupted.get('reason', 'its node went')}): what is stored stays, the "
            "index is started again and not counted"
        )
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("reason") == "Unschedulable" and scheduled.get("status") == "False":
        return "Unschedulable", _unschedulable(scheduled.get("message", ""))
    statuses = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    for container in statuses:
        if found := _waits(container, pod["metadata"]["name"]):
            return found
    for container in statuses:
        if found := _ended(container, pod):
            return found
    if status.get("phase") == "Failed":
        return status.get("reason") or "Failed", one_line(status.get("message") or "it failed")
    return None


def _unschedulable(message: str) -> str:
    if "nvidia.com/gpu" in message:
        return (
            "no node has a GPU for it: add G-family nodes and NVIDIA's device plug-in, or raise "
            f"the node pool's limit ({one_line(message)})"
        )
    return f"no node takes it: {one_line(message) or 'the scheduler does not say why'}"


def _waits(container: dict[str, Any], pod: str) -> tuple[str, str] | None:
    waiting = container.get("state", {}).get("waiting", {})
    reason = waiting.get("reason", "")
    if reason in _PULL:
        return reason, (
            f"the image {container.get('image', '?')} of {container['name']} can't be pulled: "
            "correct `images:` of the overlay, push it, or let the nodes read that registry"
        )
    if reason in _CREATE:
        said = one_line(waiting.get("message", ""))
        return reason, f"{container['name']} can't be started: {said}; correct the overlay"
    if reason == "CrashLoopBackOff":
        last = _terminated(container)
        why = f"exit code {last['exitCode']}" if last else "it ends at once"
        return reason, (
            f"{container['name']} ends again and again ({why}): "
            f"`kubectl logs {pod} -c {container['name']} --previous` says why"
        )
    return None


def _ended(container: dict[str, Any], pod: Manifest) -> tuple[str, str] | None:
    last = _terminated(container)
    if last is None or last.get("exitCode", 0) == 0:
        return None
    name = container["name"]
    if last.get("reason") == "OOMKilled":
        return "OOMKilled", (
            f"{name} was killed: it had {_memory(pod, name)} of memory; raise its limit in the "
            "overlay"
        )
    code = last["exitCode"]
    known = {int(item) for item in ExitCode}
    meaning = MEANINGS[ExitCode(code)] if code in known else "killed" if code > 128 else ""
    where = pod["metadata"]["name"]
    said = f" ({meaning})" if meaning else ""
    return f"ExitCode{code}", (
        f"{name} ended with exit code {code}{said}: `kubectl logs {where} -c {name}` has its words"
    )


def _terminated(container: dict[str, Any]) -> dict[str, Any] | None:
    for state in ("state", "lastState"):
        found = container.get(state, {}).get("terminated")
        if isinstance(found, dict):
            return found
    return None


def _memory(pod: Manifest, container: str) -> str:
    spec = pod["spec"]
    for item in (*spec.get("initContainers", []), *spec["containers"]):
        if item["name"] == container:
            return str(item.get("resources", {}).get("limits", {}).get("memory", "no limit"))
    return "no limit"


def _indexes(text: str) -> Iterator[int]:
    """``0,3-5`` as Kubernetes writes it."""
    for piece in filter(None, text.split(",")):
        first, _, last = piece.partition("-")
        yield from range(int(first), int(last or first) + 1)
