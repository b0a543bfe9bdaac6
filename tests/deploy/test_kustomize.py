"""The manifests, rendered: valid for the cluster, consistent with the code, closed by default."""

from __future__ import annotations

import re
from typing import cast

import kubernetes_validate
import pytest

from simcloud_cli.exit_codes import ExitCode
from support.manifests import K8S, ROOT, Manifest, containers, named, of_kind, pods, rendered
from support.setting_names import ALL_VARIABLES, SERVICES, drain_s

COMBINATIONS = (
    "overlays/kind",
    "overlays/eks",
    "overlays/eks-run",
    "overlays/kind-run",
    "run-job",
    "tests/kind-all",
    "tests/eks-isaac",
    "tests/eks-keda",
    "tests/eks-mtls",
    "tests/eks-run-mtls",
)
VERSIONS = ("1.31", "1.34", "1.35")
"""Oldest that runs need (sidecars, per-index retry), that of Terraform's cluster, and the next."""

CUSTOM = {"PodMonitor", "NodePool", "EC2NodeClass", "Certificate", "Issuer", "ScaledObject"}
"""Kinds of other projects, whose schemas Kubernetes doesn't have."""

OURS = {
    "simcloud-generator": "services/generator/Dockerfile",
    "simcloud-uploader": "services/uploader/Dockerfile",
    "simcloud-inference-router": "services/inference-router/Dockerfile",
    "simcloud-model-container": "model-container/Dockerfile",
    "simcloud-cli": "packages/simcloud-cli/Dockerfile",
    "simcloud-s3": "deploy/images/s3.Dockerfile",
    "simcloud-generator-isaac": "services/generator/Dockerfile.isaac",
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_every_manifest_is_one_of_that_version(combination: str, version: str) -> None:
    for item in rendered(combination):
        if item["kind"] not in CUSTOM:
            kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_every_image_is_one_that_we_build(combination: str) -> None:
    for name, pod in pods(combination):
        for container in containers(pod):
            image = container["image"].rsplit("/", 1)[-1].split(":")[0]
            assert image in OURS, name
            assert (ROOT / OURS[image]).is_file(), name


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_pods_keep_to_the_restricted_profile(combination: str) -> None:
    for name, pod in pods(combination):
        security = pod["securityContext"]
        assert security["runAsNonRoot"], name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        for container in containers(pod):
            confined = container["securityContext"]
            assert confined["allowPrivilegeEscalation"] is False, name
            assert confined["readOnlyRootFilesystem"] is True, name
            assert confined["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name
            assert container["resources"]["requests"]["cpu"], name
        for volume in pod.get("volumes", []):
            assert "hostPath" not in volume, name


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_selectors_and_ports_match(combination: str) -> None:
    items = rendered(combination)
    labels: dict[str, Manifest] = {}
    ports: dict[str, set[str]] = {}
    for item in items:
        template = item.get("spec", {}).get("template", {})
        name = template.get("metadata", {}).get("labels", {}).get("app.kubernetes.io/name")
        if name is None:
            continue
        labels[name] = template["metadata"]["labels"]
        found = containers(template["spec"])
        ports[name] = {port["name"] for container in found for port in container.get("ports", [])}
        selector = item["spec"].get("selector", {}).get("matchLabels", {})
        assert selector.items() <= labels[name].items()
    for service in of_kind(combination, "Service"):
        name = service["spec"]["selector"]["app.kubernetes.io/name"]
        assert name in labels
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports[name]
    for budget in of_kind(combination, "PodDisruptionBudget"):
        assert budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] in labels
    for scaler in of_kind(combination, "HorizontalPodAutoscaler", "ScaledObject"):
        assert scaler["spec"]["scaleTargetRef"]["name"] in labels


def documents_there(combination: str) -> set[str]:
    """Names of ConfigMaps and Secrets, and of those that others make."""
    there = {item["metadata"]["name"] for item in of_kind(combination, "ConfigMap", "Secret")}
    there |= {item["spec"]["secretName"] for item in of_kind(combination, "Certificate")}
    if combination == "overlays/kind-run":
        there.add("s3-credentials")  # of the cluster's own overlay
    return there


def documents_wanted(pod: Manifest) -> set[str]:
    """Names of ConfigMaps and Secrets that a pod reads or mounts."""
    wanted = set()
    for container in containers(pod):
        for source in container.get("envFrom", []):
            wanted.add((source.get("configMapRef") or source["secretRef"])["name"])
    for volume in pod.get("volumes", []):
        if "configMap" in volume:
            wanted.add(volume["configMap"]["name"])
        if "secret" in volume:
            wanted.add(volume["secret"]["secretName"])
    return wanted


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_whatever_is_mounted_or_read_is_there(combination: str) -> None:
    claims = {
        claim["metadata"]["name"]
        for item in of_kind(combination, "StatefulSet")
        for claim in item["spec"].get("volumeClaimTemplates", [])
    }
    for name, pod in pods(combination):
        assert documents_wanted(pod) <= documents_there(combination), name
        volumes = {volume["name"] for volume in pod.get("volumes", [])} | claims
        for container in containers(pod):
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            assert mounted <= volumes, name


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_every_variable_is_a_setting(combination: str) -> None:
    names: set[str] = set()
    for item in of_kind(combination, "ConfigMap"):
        names |= {key for key in item["data"] if key.startswith("SIMCLOUD_")}
    for _, pod in pods(combination):
        for container in containers(pod):
            names |= {each["name"] for each in container.get("env", [])}
    assert {name for name in names if name.startswith("SIMCLOUD_")} <= ALL_VARIABLES


@pytest.mark.parametrize("combination", ["overlays/kind", "overlays/eks", "tests/eks-mtls"])
def test_services_are_probed_and_have_longer_to_stop_than_they_drain(combination: str) -> None:
    for item in of_kind(combination, "Deployment"):
        name = item["metadata"]["name"]
        pod = item["spec"]["template"]["spec"]
        container = pod["containers"][0]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert probe in container, name
            kind = next(iter(container[probe].keys() & {"grpc", "httpGet", "exec"}))
            if kind == "httpGet":
                names = {port["name"] for port in container["ports"]}
                assert container[probe]["httpGet"]["port"] in names
            if kind == "grpc":
                numbers = {port["containerPort"] for port in container["ports"]}
                assert container[probe]["grpc"]["port"] in numbers
        if name in SERVICES:
            assert pod["terminationGracePeriodSeconds"] > drain_s(name) + 5


@pytest.mark.parametrize("combination", ["run-job", "overlays/eks-run", "overlays/kind-run"])
def test_a_run_is_an_indexed_job_that_knows_whose_fault_it_is(combination: str) -> None:
    (job,) = of_kind(combination, "Job")
    spec = job["spec"]
    data = next(
        item["data"] for item in of_kind(combination, "ConfigMap") if "FRAMES" in item["data"]
    )
    shards = -(-int(data["FRAMES"]) // int(data["FRAMES_PER_SHARD"]))
    assert spec["completions"] == -(-shards // int(data["SHARDS_PER_TASK"]))
    assert spec["completionMode"] == "Indexed"
    assert spec["backoffLimitPerIndex"] > 0
    rules = {rule["action"]: rule for rule in spec["podFailurePolicy"]["rules"]}
    assert rules["Ignore"]["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert rules["FailJob"]["onExitCodes"]["values"] == [ExitCode.USAGE]
    assert rules["FailIndex"]["onExitCodes"]["values"] == [ExitCode.QUARANTINED, ExitCode.CORRUPT]
    pod = spec["template"]["spec"]
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert rules["FailJob"]["onExitCodes"]["containerName"] == pod["containers"][0]["name"]


@pytest.mark.parametrize("combination", ["run-job", "overlays/eks-run", "overlays/kind-run"])
def test_command_and_renderer_of_a_run_mean_the_same(combination: str) -> None:
    (context,) = [item["data"] for item in of_kind(combination, "ConfigMap")]
    (job,) = of_kind(combination, "Job")
    sidecar = job["spec"]["template"]["spec"]["initContainers"][0]
    env = {each["name"]: each["value"] for each in sidecar["env"]}
    assert env["SIMCLOUD_GENERATOR_LISTEN"] == context["SIMCLOUD_CONTEXT_GENERATOR"]
    assert env["SIMCLOUD_GENERATOR_UPLOADER_TARGET"] == context["SIMCLOUD_CONTEXT_UPLOADER"]
    for field in ("REGION", "ENDPOINT_URL", "PATH_STYLE"):
        ours, its = f"SIMCLOUD_CONTEXT_S3__{field}", f"SIMCLOUD_GENERATOR_S3__{field}"
        assert env.get(its) == context.get(ours), field


def test_everything_is_denied_that_is_not_named() -> None:
    policies = {
        item["metadata"]["name"]: item["spec"] for item in of_kind("overlays/eks", "NetworkPolicy")
    }
    closed = policies["default-deny"]
    assert closed["podSelector"] == {}
    assert sorted(closed["policyTypes"]) == ["Egress", "Ingress"]
    named = {
        cast("str", spec["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/name"))
        for spec in policies.values()
        if "Ingress" in spec["policyTypes"]
    }
    deployed = {item["metadata"]["name"] for item in of_kind("overlays/eks", "Deployment")}
    assert deployed <= named


def allowed_out(combination: str, app: str) -> set[tuple[str, int | str]]:
    """Where pods of ours may go: service or namespace, and port; 443 is open to all."""
    found: set[tuple[str, int | str]] = set()
    for item in of_kind(combination, "NetworkPolicy"):
        chosen = item["spec"]["podSelector"]
        names = [each["values"] for each in chosen.get("matchExpressions", [])]
        if names and app not in names[0]:
            continue
        for rule in item["spec"].get("egress", []):
            for peer in rule["to"]:
                labels = (peer.get("podSelector") or peer.get("namespaceSelector") or {}).get(
                    "matchLabels", {}
                )
                found |= {
                    (name, each["port"]) for name in labels.values() for each in rule["ports"]
                }
    return found


@pytest.mark.parametrize("combination", ["overlays/eks", "tests/eks-mtls", "tests/eks-keda"])
def test_what_settings_name_can_be_reached_through_the_policies(combination: str) -> None:
    for item in of_kind(combination, "Deployment"):
        app = item["metadata"]["name"]
        (container,) = item["spec"]["template"]["spec"]["containers"]
        for source in container["envFrom"]:
            data = named(rendered(combination), "ConfigMap", source["configMapRef"]["name"])["data"]
            for value in data.values():
                for host, port in re.findall(r"^(?:http://)?([a-z][a-z0-9.-]*):(\d+)$", value):
                    service, _, namespace = host.partition(".")
                    wanted = {(namespace or service, int(port)), (service, "grpc")}
                    assert wanted & allowed_out(combination, app), f"{app}: {value}"


def test_nothing_of_a_cluster_is_larger_than_its_nodes() -> None:
    """Terraform's nodes take the services; those of runs come by a node pool."""
    text = (ROOT / "deploy/terraform/live/variables.tf").read_text(encoding="utf-8")
    version = re.search(r'variable "cluster_version".*?default\s+= "([\d.]+)"', text, re.DOTALL)
    assert version is not None
    assert version[1] == VERSIONS[1]
    nodes = re.search(r'instance_type = optional\(string, "m\w+\.(\w+)"\)', text)
    assert nodes is not None
    # A tenth of a node's cores is the kubelet's and its daemons'.
    cores = {"large": 2, "xlarge": 4, "2xlarge": 8}[nodes[1]] * 0.9
    wanted = [cpus(pod) for _, pod in pods("overlays/eks")]
    least = {
        item["spec"]["scaleTargetRef"]["name"]: item["spec"]["minReplicas"]
        for item in of_kind("overlays/eks", "HorizontalPodAutoscaler")
    }
    assert max(wanted) <= cores
    # Two nodes, and a core for Karpenter, DNS and metrics-server.
    assert (
        sum(cpus(pod) * least.get(name, 1) for name, pod in pods("overlays/eks")) <= 2 * cores - 1
    )
    (pool,) = of_kind("overlays/eks-run", "NodePool")
    (smallest,) = (
        min(map(int, each["values"]))
        for each in pool["spec"]["template"]["spec"]["requirements"]
        if each["key"].endswith("instance-cpu")
    )
    ((_, run),) = pods("overlays/eks-run")
    assert cpus(run) <= smallest * 0.9
    assert run["nodeSelector"].items() <= pool["spec"]["template"]["metadata"]["labels"].items()
    taints = {each["key"] for each in pool["spec"]["template"]["spec"]["taints"]}
    for combination in ("overlays/eks-run", "tests/eks-run-mtls"):
        ((_, pod),) = pods(combination)
        assert taints <= {each["key"] for each in pod["tolerations"]}


def cpus(pod: Manifest) -> float:
    """Cores that a pod requests; sidecars run beside the others."""
    return sum(
        float(text[:-1]) / 1000 if text.endswith("m") else float(text)
        for text in (item["resources"]["requests"]["cpu"] for item in containers(pod))
    )


def test_no_file_names_an_account_or_a_registry() -> None:
    for path in K8S.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        for account in re.findall(r"\b\d{12}\b", text):
            assert account == "000000000000", path
        assert not re.search(r"image: \S*\.\S+/", text), path
