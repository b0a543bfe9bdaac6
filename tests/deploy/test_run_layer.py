"""The layer that `simcloud run --on kubernetes` puts on an overlay: one run, no other change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simcloud.dataset.layout import RunLocation
from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud.spec.plan import Plan
from simcloud_cli.kubernetes.kubectl import Kubectl, Manifest
from simcloud_cli.kubernetes.manifests import (
    Overlay,
    RunJob,
    check_region,
    read_overlay,
    render_run,
)
from support.kube_rules import check

K8S = Path(__file__).parents[2] / "deploy" / "k8s"
OVERLAYS = (
    "run-job",
    "overlays/kind-run",
    "overlays/eks-run",
    "tests/eks-isaac",
    "tests/eks-run-mtls",
)
CUSTOM = {"NodePool", "EC2NodeClass", "Certificate"}

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def run_job(shards: tuple[int, ...] = tuple(range(7))) -> RunJob:
    return RunJob(
        location=RunLocation(bucket="my-bucket", prefix="team/a", run="show.room"),
        plan=Plan(frames=70, frames_per_shard=10),
        shards=shards,
        shards_per_task=2,
        parallelism=3,
        attempt=1,
        allow_mixed_fingerprints=False,
        allow_quarantine=2,
    )


def the_job(items: tuple[Manifest, ...]) -> Manifest:
    (job,) = [item for item in items if item["kind"] == "Job"]
    return job


def without(job: Manifest) -> Manifest:
    """A Job without what is a run's own."""
    spec = {**job["spec"]}
    for field in ("completions", "parallelism"):
        del spec[field]
    pod = {**spec["template"]["spec"]}
    pod["containers"] = [
        {key: value for key, value in item.items() if key not in {"args", "envFrom"}}
        for item in pod["containers"]
    ]
    return {**spec, "template": {"spec": pod}}


@pytest.mark.parametrize("name", OVERLAYS)
async def test_a_layer_names_the_run_and_leaves_the_rest_to_the_overlay(name: str) -> None:
    overlay = await read_overlay(Kubectl(), K8S / name, None)
    items = await render_run(Kubectl(), overlay, run_job(), overlay.namespace)
    for item in (*overlay.items, *items):
        if item["kind"] not in CUSTOM:
            check(item)
    job = the_job(items)
    assert items[-1] is job
    assert job["metadata"]["name"] == run_job().name
    assert job["metadata"]["namespace"] == "simcloud"
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (4, 3)
    assert without(job) == without(overlay.job)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"][:2] == ["resume", "s3://my-bucket/team/a/show.room"]
    (settings,) = [item for item in items if item["kind"] == "ConfigMap" and "RUN" in item["data"]]
    assert {"configMapRef": {"name": settings["metadata"]["name"]}} in container["envFrom"]
    assert settings["data"]["SIMCLOUD_CONTEXT_BUCKET"] == "my-bucket"
    assert settings["data"]["SIMCLOUD_CONTEXT_PREFIX"] == "team/a"
    assert settings["data"]["SIMCLOUD_CONTEXT_S3__REGION"] == "us-east-1"
    for item in (job, settings):
        assert item["metadata"]["labels"]["simcloud.dev/run"].startswith("show-room-")


async def test_two_runs_have_nothing_in_common_but_what_they_share() -> None:
    overlay = await read_overlay(Kubectl(), K8S / "overlays/kind-run", "elsewhere")
    assert overlay.namespace == "elsewhere"
    one = await render_run(Kubectl(), overlay, run_job(), "elsewhere")
    two = await render_run(Kubectl(), overlay, run_job((1, 5)), "elsewhere")
    names = [{(i["kind"], i["metadata"]["name"]) for i in items} for items in (one, two)]
    assert all(item["metadata"]["namespace"] == "elsewhere" for item in one)
    assert ("ServiceAccount", "run") in names[0] & names[1]
    assert (
        the_job(two)["spec"]["template"]["spec"]["containers"][0]["args"][2] == "--shards=auto:1,5"
    )


def overlay_folder(folder: Path, text: str) -> Path:
    (folder / "kustomization.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("resources: [nowhere.yaml]", "can't be rendered"),
        ("namePrefix: {}", "can't be rendered"),
        ("configMapGenerator: [{name: a, literals: [b=c]}]", "makes 0 Jobs"),
    ],
)
async def test_a_wrong_overlay_is_told_in_one_line(
    tmp_path: Path, content: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as found:
        await read_overlay(Kubectl(), overlay_folder(tmp_path, content), None)
    assert "\n" not in found.value.message


async def test_an_overlay_of_another_region_is_refused() -> None:
    overlay: Overlay = await read_overlay(Kubectl(), K8S / "overlays/kind-run", None)
    check_region(overlay, "us-east-1")
    with pytest.raises(InvalidRequest, match=r"region us-east-1, the context eu-west-1"):
        check_region(overlay, "eu-west-1")


async def test_no_kubectl_is_told_with_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PreconditionFailed, match="kubectl is not on the PATH: install it"):
        await read_overlay(Kubectl(), K8S / "run-job", None)
