"""Indexed Jobs played: each pod's containers are started as the real programs, as processes.

The controller does what Kubernetes documents of Indexed Jobs: an index a pod, `parallelism` at
once, the index again when its pod fails, by `podFailurePolicy` and `backoffLimitPerIndex`. A pod's
own network is ports of its own; names of the cluster's services lead where the test says.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simcloud_cli.readiness import grpc_ready
from support.eventually import eventually
from support.kill_services import end, free_port, spawn, tail
from support.kube_api import KubeApi
from support.kube_rules import Manifest

IMAGES = {
    "simcloud-generator": ["support.noise_generator"],
    "simcloud-cli": ["simcloud_cli"],
}
"""Python modules that are the images' entry points; the renderer alone is a cheap one."""

_GPU = "nvidia.com/gpu"
_READY_WITHIN_S = 60.0


@dataclass
class Pod:
    """A pod and its processes."""

    item: Manifest
    port: int
    """What its containers call 127.0.0.1:50051."""
    folder: Path
    sidecar: asyncio.subprocess.Process | None = None
    main: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        return str(self.item["metadata"]["name"])

    @property
    def log(self) -> Path:
        """Of its `run` container."""
        return self.folder / "run.log"

    def kill(self, *, reason: str = "") -> None:
        """kill -9 of everything in it; with a reason, as a node that goes."""
        if reason:
            condition = {"type": "DisruptionTarget", "status": "True", "reason": reason}
            self.item["status"]["conditions"].append(condition)
        for process in (self.sidecar, self.main):
            if process is not None and process.returncode is None:
                process.send_signal(signal.SIGKILL)


@dataclass
class JobCluster:
    """The controller of Jobs and the one node."""

    api: KubeApi
    folder: Path
    names: Mapping[str, str]
    """What the cluster's DNS and volumes make of a value, by its text in manifests."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of every container, beside its own."""
    pods: list[Pod] = field(default_factory=list)
    """All that there were, in the order in which they came."""
    tasks: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    _jobs: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def created(self, item: Manifest) -> None:
        """The API server's news."""
        if item["kind"] == "Job":
            item["status"] = {"active": 0, "ready": 0, "succeeded": 0, "failed": 0}
            name = item["metadata"]["name"]
            self._jobs[name] = self.tasks.create_task(self._run_job(item))

    def deleted(self, item: Manifest) -> None:
        """The API server's news: a Job's pods go with it."""
        if item["kind"] == "Job":
            self._jobs.pop(item["metadata"]["name"]).cancel()

    def fail(self, job: Manifest, reason: str) -> None:
        """Ends a Job as failed, its pods with it, as a controller that gives up."""
        self._jobs.pop(job["metadata"]["name"]).cancel()
        self._end(job, "Failed", reason, "Job has reached the specified backoff limit")

    def stop(self) -> None:
        """Ends every pod."""
        for task in self._jobs.values():
            task.cancel()

    async def _run_job(self, job: Manifest) -> None:
        waiting = iter(range(job["spec"]["completions"]))
        failed: dict[int, str] = {}
        done: set[int] = set()
        stopped = asyncio.Event()

        async def work() -> None:
            for index in waiting:
                if stopped.is_set():
                    return
                why = await self._run_index(job, index)
                if not why:
                    done.add(index)
                    job["status"]["succeeded"] = len(done)
                    job["status"]["completedIndexes"] = ",".join(map(str, sorted(done)))
                    continue
                failed[index] = why
                job["status"]["failedIndexes"] = ",".join(map(str, sorted(failed)))
                if why == "FailJob":
                    stopped.set()

        async with asyncio.TaskGroup() as workers:
            for _ in range(job["spec"]["parallelism"]):
                workers.create_task(work())
        if not failed:
            self._end(job, "Complete", "CompletionsReached", "Reached expected number")
        elif stopped.is_set():
            self._end(job, "Failed", "PodFailurePolicy", "a container's exit code failed the Job")
        else:
            self._end(job, "Failed", "FailedIndexes", "Job has failed indexes")

    def _end(self, job: Manifest, kind: str, reason: str, message: str) -> None:
        job["status"]["conditions"] = [
            {"type": kind, "status": "True", "reason": reason, "message": message}
        ]

    async def _run_index(self, job: Manifest, index: int) -> str:
        """Runs an index until it is through; why it is not, else."""
        failures = 0
        while True:
            pod = self._make_pod(job, index)
            job["status"]["active"] += 1
            try:
                code = await self._run_pod(pod)
            finally:
                job["status"]["active"] -= 1
            if code == 0:
                return ""
            job["status"]["failed"] += 1
            action = _action(job["spec"], pod.item, code)
            if action in {"FailJob", "FailIndex"}:
                return action
            failures += action == "Count"
            if failures > job["spec"]["backoffLimitPerIndex"]:
                return "BackoffLimitExceeded"

    def _make_pod(self, job: Manifest, index: int) -> Pod:
        template = job["spec"]["template"]
        job_name = job["metadata"]["name"]
        name = f"{job_name}-{index}-{len(self.pods):05d}"
        item = self.api.add(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": job["metadata"]["namespace"],
                    "labels": {
                        **template["metadata"]["labels"],
                        "batch.kubernetes.io/job-name": job_name,
                    },
                    "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                },
                "spec": template["spec"],
                "status": {"phase": "Pending", "conditions": []},
            }
        )
        folder = self.folder / name
        folder.mkdir(parents=True)
        pod = Pod(item, free_port(), folder)
        self.pods.append(pod)
        return pod

    async def _run_pod(self, pod: Pod) -> int:
        """Its `run` container's exit code, when it has ended."""
        spec, status = pod.item["spec"], pod.item["status"]
        if not self._can_start(pod):
            await asyncio.Event().wait()
        try:
            (sidecar,) = spec["initContainers"]
            pod.sidecar = await self._start(pod, sidecar)
            ready = grpc_ready(pod.folder / "port.json")
            await eventually(ready, within_s=_READY_WITHIN_S, what=f"{pod.name}: its sidecar")
            (main,) = spec["containers"]
            pod.main = await self._start(pod, main)
            status["phase"] = "Running"
            code = await pod.main.wait()
            code = 128 - code if code < 0 else code
            status["phase"] = "Failed" if code else "Succeeded"
            status["containerStatuses"] = [_ended(main, code)]
            return code
        finally:
            await self._end_pod(pod)

    async def _end_pod(self, pod: Pod) -> None:
        """The sidecar drains, as it does on a node; nothing is left."""
        if pod.main is not None:
            await end(pod.main)
        if pod.sidecar is None:
            return
        if pod.sidecar.returncode is None:
            with suppress(ProcessLookupError):
                pod.sidecar.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(20):
                    await pod.sidecar.wait()
        await end(pod.sidecar)

    def _can_start(self, pod: Pod) -> bool:
        """Whether a node takes it and its images are there; else its status says why not."""
        spec, status = pod.item["spec"], pod.item["status"]
        everything = [*spec["initContainers"], *spec["containers"]]
        if any(_GPU in item["resources"].get("limits", {}) for item in everything):
            status["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": f"0/1 nodes are available: 1 Insufficient {_GPU}.",
                }
            ]
            return False
        unknown = [item for item in everything if _image(item) not in IMAGES]
        status["initContainerStatuses"] = [
            {
                "name": item["name"],
                "image": item["image"],
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}},
            }
            for item in unknown
        ]
        return not unknown

    async def _start(self, pod: Pod, container: Manifest) -> asyncio.subprocess.Process:
        given = {each["name"]: each["value"] for each in container.get("env", [])}
        settings: dict[str, str] = {}
        namespace = pod.item["metadata"]["namespace"]
        for source in container.get("envFrom", []):
            kind, ref = next(iter(source.items()))
            plural = {"configMapRef": "configmaps", "secretRef": "secrets"}[kind]
            item = self.api.objects[(plural, namespace, ref["name"])]
            settings |= item.get("data") or item.get("stringData") or {}
        there = {
            "JOB_COMPLETION_INDEX": pod.item["metadata"]["annotations"][
                "batch.kubernetes.io/job-completion-index"
            ],
            "SIMCLOUD_GENERATOR_PORT_FILE": str(pod.folder / "port.json"),
            "SIMCLOUD_GENERATOR_CACHE_DIR": str(pod.folder / "cache"),
        }
        names = {**self.names, "127.0.0.1:50051": f"127.0.0.1:{pod.port}"}
        values = {k: names.get(v, v) for k, v in {**settings, **given, **there}.items()}
        arguments = [word.replace("/tmp/", f"{pod.folder}/") for word in container.get("args", [])]
        return await spawn(
            [*IMAGES[_image(container)], *arguments],
            log=pod.folder / f"{container['name']}.log",
            environment={**self.environment, **values},
            folder=pod.folder,
        )


@asynccontextmanager
async def job_cluster(
    api: KubeApi, folder: Path, *, names: Mapping[str, str], environment: Mapping[str, str]
) -> AsyncIterator[JobCluster]:
    """Plays the API server's Jobs within the block; every pod is ended with it."""
    async with asyncio.TaskGroup() as tasks:
        cluster = JobCluster(api, folder, names, environment, tasks=tasks)
        api.on_create, api.on_delete = cluster.created, cluster.deleted
        try:
            yield cluster
        finally:
            cluster.stop()


def logs_of(cluster: JobCluster) -> str:
    """The ends of all pods' logs, for a failure."""
    found = sorted(cluster.folder.glob("*/*.log"))
    return "\n".join(f"== {log.parent.name}/{log.name}\n{tail(log)}" for log in found)


def _image(container: Manifest) -> str:
    """Its repository: only those of ``IMAGES`` are there."""
    return str(container["image"].rpartition(":")[0])


def _ended(container: Manifest, code: int) -> dict[str, Any]:
    reason = "Completed" if code == 0 else "Error"
    terminated = {"exitCode": code, "reason": reason}
    return {
        "name": container["name"],
        "image": container["image"],
        "state": {"terminated": terminated},
    }


def _action(spec: Manifest, pod: Manifest, code: int) -> str:
    """What the first rule that matches a failed pod says; counted where none does."""
    conditions = {(item["type"], item["status"]) for item in pod["status"].get("conditions", [])}
    for rule in spec.get("podFailurePolicy", {}).get("rules", []):
        codes = rule.get("onExitCodes")
        if codes is not None and (code in codes["values"]) is (codes["operator"] == "In"):
            return str(rule["action"])
        wanted = {(item["type"], item["status"]) for item in rule.get("onPodConditions", [])}
        if wanted & conditions:
            return str(rule["action"])
    return "Count"
