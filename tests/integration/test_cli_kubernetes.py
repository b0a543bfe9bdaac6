"""`simcloud run --on kubernetes` by real kubectl: submitted, followed, interrupted, accounted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from simcloud.dataset.layout import RunLocation
from simcloud.s3.objects import ObjectStore
from simcloud_cli.app import app
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.kubernetes.manifests import run_label
from support.eventually import eventually
from support.kill_scene import write_spec
from support.kube_api import KubeApi, kube_api
from support.kube_jobs import JobCluster, job_cluster, logs_of
from support.noise_generator import HELD_FRAMES
from support.s3_server import S3Server
from support.uploader_process import uploader_process

ROOT = Path(__file__).parents[2]
KIND = str(ROOT / "deploy" / "k8s" / "overlays" / "kind-run")
ISAAC = str(ROOT / "deploy" / "k8s" / "tests" / "eks-isaac")

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@dataclass
class Site:
    """A cluster, S3, and a machine from which both are reached."""

    api: KubeApi
    cluster: JobCluster
    bucket: str
    folder: Path
    environment: dict[str, str]
    spec: Path

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        """A command of `simcloud`, from outside of the cluster."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "simcloud_cli", *words),
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def simcloud(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command."""
        process = await self.start(*words)
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def run(self, *words: str) -> tuple[str, ...]:
        """The command of a run of 9 frames in 3 shards, two a pod."""
        cut = ("--frames=9", "--frames-per-shard=3", "--every-s=3", "--no-score")
        on = ("--on=kubernetes", f"--overlay={KIND}")
        return ("run", str(self.spec), "--name=there", *cut, *on, *words)

    def has_stored_a_shard(self) -> bool:
        """Whether the first pod says so."""
        log = self.cluster.pods[0].log if self.cluster.pods else None
        return log is not None and log.exists() and "is stored" in log.read_text()

    @property
    def location(self) -> RunLocation:
        """Of that run."""
        return RunLocation(bucket=self.bucket, prefix="", run="there")


@asynccontextmanager
async def cluster_site(
    folder: Path,
    s3: S3Server,
    bucket: str,
    *,
    uploader: str = "127.0.0.1:1",
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Site]:
    """A cluster with the base applied, and S3; ``environment`` is every container's."""
    settings = s3.settings
    names = {"dns:///uploader:50052": uploader, "http://s3:8333": settings.endpoint_url or ""}
    secret = settings.secret_access_key.get_secret_value()
    keys = {"AWS_ACCESS_KEY_ID": settings.access_key_id, "AWS_SECRET_ACCESS_KEY": secret}
    async with (
        kube_api(folder) as (api, kube),
        job_cluster(api, folder / "pods", names=names, environment=environment or {}) as cluster,
    ):
        apply_base(api, keys)
        context = {
            "bucket": bucket,
            "s3": {
                "endpoint_url": settings.endpoint_url,
                "region": settings.region,
                "access_key_id": settings.access_key_id,
                "secret_access_key": secret,
                "path_style": True,
            },
        }
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump({"current": "kind", "contexts": {"kind": context}}))
        kept = {key: text for key, text in os.environ.items() if not key.startswith("SIMCLOUD_")}
        ours = {**kept, **kube, "SIMCLOUD_CONFIG": str(config)}
        spec = write_spec(folder / "scene")
        yield Site(api, cluster, bucket, folder, ours, spec)


def apply_base(api: KubeApi, credentials: dict[str, str]) -> None:
    """What `kubectl apply -k deploy/k8s/overlays/kind` leaves that runs need."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.add({"kind": "Namespace", "metadata": {"name": "simcloud", "labels": label}})
    api.add({"kind": "PriorityClass", "metadata": {"name": "simcloud-batch"}, "value": 1000})
    secret = {"name": "s3-credentials", "namespace": "simcloud"}
    api.add({"kind": "Secret", "metadata": secret, "stringData": credentials})
    labels = {"kubernetes.io/service-name": "uploader"}
    name = {"name": "uploader-1", "namespace": "simcloud", "labels": labels}
    endpoints = [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]
    api.add({"kind": "EndpointSlice", "metadata": name, "endpoints": endpoints})


@pytest.mark.timeout(600)
async def test_a_run_in_a_cluster_is_followed_through_a_kill_and_a_detour_and_published_once(
    s3_server: S3Server, store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    # The last frames of the second and of the third shard: until then neither is stored.
    held = [tmp_path / "held" / frame for frame in ("5", "8")]
    held[0].parent.mkdir()
    for each in held:
        each.touch()
    with uploader_process(tmp_path, s3_server) as uploader:
        await uploader.start()
        async with cluster_site(
            tmp_path,
            s3_server,
            bucket,
            uploader=uploader.address,
            environment={HELD_FRAMES: str(held[0].parent)},
        ) as site:
            first = await site.start(*site.run("--pods=1"))
            try:
                await eventually(site.has_stored_a_shard, within_s=200, what="a shard")
                site.cluster.pods[0].kill()
                held[0].unlink()
                await eventually(lambda: len(site.cluster.pods) > 1, within_s=100, what="again")
                # Ctrl-C detaches.
                first.send_signal(signal.SIGINT)
                _, said = await first.communicate()
            finally:
                if first.returncode is None:
                    first.kill()
            told = said.decode()
            assert first.returncode == ExitCode.INTERRUPTED, told
            assert "the same command joins it again" in told
            (job,) = site.api.of("jobs.batch")
            name = job["metadata"]["name"]
            assert f"kubectl --namespace simcloud delete job {name}" in told
            assert job["spec"]["completions"] == 2

            # The Job went on; the same command joins it.
            joined = await site.start(*site.run("--json"))
            try:
                assert f"joined Job {name}" in await told_line(joined, "joined Job")
                held[1].unlink()
                out, said = await joined.communicate()
            finally:
                if joined.returncode is None:
                    joined.kill()
            assert joined.returncode == ExitCode.COMPLETE, said.decode() + logs_of(site.cluster)
            answer: dict[str, Any] = json.loads(out)
            counts = answer["accounting"]
            assert (counts["planned"], counts["stored"], counts["missing"]) == (9, 9, [])
            assert counts["published"]
            assert counts["ok"]
            indexes = [pod.item["metadata"]["annotations"] for pod in site.cluster.pods]
            assert [next(iter(each.values())) for each in indexes] == ["0", "0", "1"]
            manifests = store.list_keys(bucket, site.location.manifests_prefix)
            assert len([row async for row in manifests]) == 1


@pytest.mark.timeout(300)
async def test_a_failed_job_is_told_and_only_what_it_left_is_made_again(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    async with cluster_site(tmp_path, s3_server, bucket) as site:
        overlay = f"--overlay={wrong_images(tmp_path)}"
        first = await site.start(*site.run(overlay))
        try:
            line = await told_line(first, "can't be pulled")
            assert "nowhere/simcloud-generator:dev of generator can't be pulled" in line
            (job,) = site.api.of("jobs.batch")
            # Who is told at once what is wrong need not wait for it; the Job stays.
            code, _, err = await site.simcloud(*site.run(overlay, "--stuck-minutes=0"))
            assert code == ExitCode.FAILURE, err
            ended = next(line for line in err.splitlines() if "could start" in line)
            assert "can't be pulled: correct `images:`" in ended
            assert "the same command joins it again" in err
            assert site.api.of("jobs.batch") == [job]
            site.cluster.fail(job, "BackoffLimitExceeded")
            assert "BackoffLimitExceeded" in await told_line(first, "failed:")
            await told_line(first, "missing: 3 frames of shard 0")
            await told_line(first, "mend it with")
            assert await first.wait() == ExitCode.INCOMPLETE
        finally:
            if first.returncode is None:
                first.kill()

        resumed = await site.start(*site.run("--resume", overlay))
        try:
            await told_line(resumed, "can't be pulled")
            (_, job) = site.api.of("jobs.batch")
            name = job["metadata"]["name"]
            assert name.endswith("-2")
            (container,) = job["spec"]["template"]["spec"]["containers"]
            assert "--shards=auto:0-2" in container["args"]
            site.cluster.deleted(site.api.objects.pop(("jobs.batch", "simcloud", name)))
            assert "was deleted: what is stored stays" in await told_line(resumed, "deleted")
            _, said = await resumed.communicate()
            assert resumed.returncode == ExitCode.FAILURE
            assert "goes on" not in said.decode()
        finally:
            if resumed.returncode is None:
                resumed.kill()


async def test_broken_off_while_the_job_is_made_it_is_named(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    async with cluster_site(tmp_path, s3_server, bucket) as site:
        site.api.on_create = lambda item: None
        site.api.unanswered = {("patch", "jobs.batch")}
        process = await site.start(*site.run())
        try:
            await eventually(lambda: site.api.of("jobs.batch"), within_s=60, what="the Job")
            process.send_signal(signal.SIGINT)
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        told = " ".join(said.decode().split())
        assert process.returncode == ExitCode.INTERRUPTED, told
        (job,) = site.api.of("jobs.batch")
        name = job["metadata"]["name"]
        assert f"Job {name} may have been made" in told
        assert f"kubectl --namespace simcloud delete job {name}" in told


async def test_a_dry_run_says_what_the_command_would_do_about_the_runs_job(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    async with cluster_site(tmp_path, s3_server, bucket) as site:
        label = run_label(site.location)
        labels = {"simcloud.dev/run": label, "simcloud.dev/attempt": "2"}
        metadata = {"name": f"{label}-2", "namespace": "simcloud", "labels": labels}
        job = site.api.add({"kind": "Job", "metadata": metadata, "spec": {}})
        code, out, err = await site.simcloud(*site.run("--dry-run"))
        assert (code, out) == (ExitCode.COMPLETE, ""), err
        assert f"Job {label}-2 is at work: it would be joined" in err

        failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
        job["status"] = {"conditions": [failed]}
        code, out, err = await site.simcloud(*site.run("--dry-run", "--resume"))
        assert code == ExitCode.COMPLETE, err
        assert list(yaml.safe_load_all(out))[-1]["metadata"]["name"] == f"{label}-3"


def wrong_images(folder: Path) -> Path:
    """An overlay on that of the cluster on a laptop."""
    overlay = folder / "wrong"
    overlay.mkdir()
    layer = {
        "resources": [os.path.relpath(KIND, overlay.resolve())],
        "images": [{"name": "simcloud-generator", "newName": "nowhere/simcloud-generator"}],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(layer))
    return overlay


async def told_line(process: asyncio.subprocess.Process, words: str) -> str:
    """The next line of standard error with some words."""
    assert process.stderr is not None
    lines: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(200):
            while raw := await process.stderr.readline():
                lines.append(raw.decode())
                if words in lines[-1]:
                    return lines[-1]
    raise AssertionError(f"{words!r} was not told: {''.join(lines)}")


async def doctor(site: Site, overlay: str) -> tuple[int, dict[str, str], dict[str, str]]:
    """Exit code of `simcloud doctor`, what is well by its name, and what is wrong."""
    words = ["doctor", "--json", "--on=kubernetes", f"--overlay={overlay}"]
    # In a thread: the API server is served by this event loop.
    done = await asyncio.to_thread(CliRunner().invoke, app, words, env=site.environment)
    rows = json.loads(done.stdout)
    good, wrong = ({r["check"]: r["detail"] for r in rows if r["ok"] is ok} for ok in (True, False))
    assert all("\n" not in detail for detail in wrong.values())
    return done.exit_code, good, wrong


async def test_doctor_names_what_a_cluster_lacks_each_with_its_mend(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    async with cluster_site(tmp_path, s3_server, bucket) as site:
        code, good, wrong = await doctor(site, KIND)
        assert (code, wrong) == (ExitCode.COMPLETE, {})
        assert good["namespace"] == "simcloud, Pod Security restricted"
        assert good["uploader"].startswith("1 ready")

        site.api.version = "v1.28.4"
        site.api.denied = {("patch", "jobs.batch")}
        for key in list(site.api.objects):
            if key[0] in {"endpointslices.discovery.k8s.io", "secrets"}:
                del site.api.objects[key]
        code, _, wrong = await doctor(site, KIND)
        assert code == ExitCode.FAILURE
        assert wrong.keys() == {"Kubernetes", "rights", "uploader", "secret s3-credentials"}
        assert "runs need 1.31 or newer" in wrong["Kubernetes"]
        assert "patch jobs.batch" in wrong["rights"]
        assert "nothing is ready behind dns:///uploader:50052" in wrong["uploader"]

        _, good, wrong = await doctor(site, ISAAC)
        assert "install Karpenter" in wrong["kind NodePool"]
        assert "Karpenter's simcloud-isaac makes them" in good["GPU nodes"]


async def test_a_cluster_out_of_reach_and_a_wrong_overlay_are_told(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    async with cluster_site(tmp_path, s3_server, bucket) as site:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(re.sub(r"127.0.0.1:\d+", "127.0.0.1:1", kubeconfig.read_text()))
        _, _, wrong = await doctor(site, KIND)
        assert wrong.keys() == {"API server"}
        assert "the cluster can't be reached" in wrong["API server"]
        _, _, wrong = await doctor(site, str(tmp_path))
        assert "can't be rendered" in wrong["overlay"]


async def test_what_cannot_work_is_one_line_before_anything_is_made(
    s3_server: S3Server, store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    async with cluster_site(tmp_path, s3_server, bucket) as site:
        del site.api.objects[("namespaces", "", "simcloud")]
        code, _, err = await site.simcloud(*site.run())
        assert code == ExitCode.FAILURE
        assert "namespace: there is no namespace simcloud: apply the base first" in err
        assert len(err.strip().splitlines()) == 1

        site.api.denied = {("list", "jobs.batch")}
        code, out, err = await site.simcloud(*site.run("--dry-run"))
        assert code == ExitCode.COMPLETE, err
        assert "whether there is a Job of this run is not known" in err
        printed = list(yaml.safe_load_all(out))
        assert printed[-1]["kind"] == "Job"
        assert (printed[-1]["spec"]["completions"], printed[-1]["spec"]["parallelism"]) == (2, 1)
        assert [row async for row in store.list_keys(bucket, "")] == []
        assert site.api.of("jobs.batch") == []
