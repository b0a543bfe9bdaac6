"""Autoscaling: KEDA's objects are such, ask for what is measured, and never stand beside an HPA."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

import simcloud_inference_router.metrics
import simcloud_uploader.metrics
from simcloud.telemetry.names import declared
from support.keda import ScaledObject
from support.manifests import K8S, ROOT, Manifest, named, of_kind, only, overlay, rendered

KEDA = "tests/eks-keda"
SCALED = ("inference-router", "uploader")
HPA_COMPONENT = "components/autoscaling"
KEDA_COMPONENT = "components/autoscaling-keda"
OTHERS = {"process_cpu_seconds_total"}
"""Metrics of prometheus_client's own, which the library registers for every service."""


def scaled(name: str) -> ScaledObject:
    return ScaledObject.model_validate(named(rendered(KEDA), "ScaledObject", name)["spec"])


def queries(name: str) -> list[str]:
    return [each.metadata["query"] for each in scaled(name).triggers if each.type == "prometheus"]


def autoscalers(items: tuple[Manifest, ...]) -> list[tuple[str, str]]:
    found = only(items, "HorizontalPodAutoscaler", "ScaledObject")
    return sorted((item["kind"], item["spec"]["scaleTargetRef"]["name"]) for item in found)


@pytest.mark.parametrize("name", SCALED)
def test_a_scaled_object_has_fields_that_keda_knows_and_scales_what_is_there(name: str) -> None:
    spec = scaled(name)
    target = spec.scale_target_ref
    assert named(rendered(KEDA), target.kind, target.name)["apiVersion"] == target.api_version
    assert 2 <= spec.min_replica_count < spec.max_replica_count
    assert spec.fallback is not None
    assert spec.min_replica_count <= spec.fallback.replicas <= spec.max_replica_count


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minReplicas", 2),
        ("idleReplicaCount", 1),
        ("minReplicaCount", 99),
        ("fallback", {"replicas": 3}),
        ("triggers", [{"type": "prometheus", "metadata": {"query": "up", "threshold": "1"}}]),
        (
            "triggers",
            [{"type": "kubernetes-workload", "metadata": {"podSelector": "a", "value": 1}}],
        ),
    ],
)
def test_what_keda_would_drop_or_refuse_would_be_found(field: str, value: object) -> None:
    spec = named(rendered(KEDA), "ScaledObject", "uploader")["spec"]
    with pytest.raises(ValidationError):
        ScaledObject.model_validate({**spec, field: value})


@pytest.mark.parametrize("name", SCALED)
def test_a_query_asks_for_what_the_service_measures(name: str) -> None:
    module = {
        "inference-router": simcloud_inference_router.metrics,
        "uploader": simcloud_uploader.metrics,
    }[name]
    assert module.__name__.startswith(f"simcloud_{name.replace('-', '_')}")
    known = OTHERS | {each.name for each in declared()}
    for query in queries(name):
        assert query.count("(") == query.count(")")
        found = dict(re.findall(r"\b([a-z_]+)\{([^}]*)\}", query))
        assert found
        assert found.keys() <= known, query
        for labels in found.values():
            values = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            assert values.pop("namespace") == "simcloud"
            assert values.pop("container", name) == name
            for budget in values.values():
                source = (ROOT / f"services/{name}/src").rglob("*.py")
                assert any(f'name="{budget}"' in path.read_text("utf-8") for path in source)


def test_only_the_uploader_is_ever_none_and_only_where_that_was_asked_for(tmp_path: Path) -> None:
    assert scaled("inference-router").idle_replica_count is None
    assert scaled("uploader").idle_replica_count == 0
    without = overlay(tmp_path, "overlays/eks", KEDA_COMPONENT)
    for item in only(without, "ScaledObject"):
        assert ScaledObject.model_validate(item["spec"]).idle_replica_count is None
    # What wakes it is not its own: nobody measures what does not run.
    (waking,) = [each for each in scaled("uploader").triggers if each.type != "prometheus"]
    (job,) = of_kind("run-job", "Job")
    labels = job["spec"]["template"]["metadata"]["labels"]
    key, _, value = waking.metadata["podSelector"].partition("=")
    assert labels[key] == value
    # And its own, unmeasured, are zero rather than an error, which would start the fallback.
    assert all(query.endswith("or vector(0)") for query in queries("uploader"))
    assert not any("vector(0)" in query for query in queries("inference-router"))


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        ((HPA_COMPONENT, KEDA_COMPONENT), "ScaledObject"),
        ((KEDA_COMPONENT, HPA_COMPONENT), "HorizontalPodAutoscaler"),
    ],
)
def test_there_are_never_two_autoscalers_of_one_deployment(
    tmp_path: Path, order: tuple[str, ...], kind: str
) -> None:
    items = overlay(tmp_path, "base", *order)
    assert autoscalers(items) == [(kind, name) for name in SCALED]


def test_the_number_of_replicas_is_the_autoscalers() -> None:
    for combination in ("overlays/eks", KEDA):
        for name in SCALED:
            assert "replicas" not in named(rendered(combination), "Deployment", name)["spec"]
    for name in SCALED:
        assert named(rendered("base"), "Deployment", name)["spec"]["replicas"] == 2


def test_a_change_down_is_as_slow_as_the_hpas() -> None:
    for name in SCALED:
        hpa = named(rendered("overlays/eks"), "HorizontalPodAutoscaler", name)["spec"]
        ours = named(rendered(KEDA), "ScaledObject", name)["spec"]
        behavior = ours["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        assert behavior["scaleDown"] == hpa["behavior"]["scaleDown"]
        assert ours["maxReplicaCount"] == hpa["maxReplicas"]


def test_every_component_says_what_it_needs() -> None:
    for path in (K8S / "components").rglob("kustomization.yaml"):
        text = (path.parent / "README.md").read_text(encoding="utf-8")
        assert "\nNeeds: " in text, path.parent
