"""What a run needs of a cluster, looked at before anything bills; each finding says its mend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import zip_longest

import yaml

from simcloud.errors import NotFound, PermissionDenied, PreconditionFailed, SimcloudError
from simcloud.gpu import version_of
from simcloud_cli.findings import Finding
from simcloud_cli.kubernetes.gpunodes import gpu_findings
from simcloud_cli.kubernetes.kubectl import Kubectl, Manifest
from simcloud_cli.kubernetes.manifests import Overlay, containers

MIN_SERVER = (1, 31)
"""Oldest Kubernetes: with it a Job's podFailurePolicy is stable, and sidecars that end with their
pod (1.29), backoffLimitPerIndex (1.29) and podReplacementPolicy (1.29) are there by default."""

MIN_CLIENT = (1, 27)
"""Oldest kubectl: its kustomize has components, `labels` with templates, and name changes."""

_MAKERS = {
    "cert-manager.io": ("cert-manager", "components/mtls"),
    "karpenter.sh": ("Karpenter", "components/cpu-nodes and components/isaac-gpu"),
    "karpenter.k8s.aws": ("Karpenter for AWS", "components/cpu-nodes and components/isaac-gpu"),
    "keda.sh": ("KEDA", "components/autoscaling-keda"),
    "monitoring.coreos.com": ("the Prometheus Operator", "components/observability"),
}
"""Who brings the kinds of a group, and what asks for them here."""

_POD_SECURITY = "pod-security.kubernetes.io/enforce"
_BASE = "apply the base first: `kubectl apply -k` of an overlay like deploy/k8s/overlays/eks"


@dataclass(frozen=True, slots=True)
class _Resource:
    """A kind as the API server has it."""

    group: str
    plural: str
    namespaced: bool


async def examine_cluster(kubectl: Kubectl, overlay: Overlay) -> list[Finding]:
    """Everything that an overlay's Job needs; never raises for what is missing."""
    return [finding async for finding in _examine(kubectl, overlay)]


async def examine_connection(kubectl: Kubectl) -> list[Finding]:
    """The client and the API server alone."""
    return [finding async for finding in _connection(kubectl)]


async def _examine(kubectl: Kubectl, overlay: Overlay) -> AsyncIterator[Finding]:
    reachable = True
    async for finding in _connection(kubectl):
        reachable = reachable and (finding.ok or finding.name == "Kubernetes")
        yield finding
    if not reachable:
        return
    try:
        kinds = await _kinds(kubectl, overlay)
        for finding in _kind_findings(kinds):
            yield finding
        yield await _rights(kubectl, overlay, kinds)
        yield await _namespace(kubectl, overlay)
        async for finding in _others(kubectl, overlay):
            yield finding
        if overlay.wants_gpu:
            yield await gpu_findings(kubectl, overlay)
    except SimcloudError as error:
        yield Finding("cluster", ok=False, detail=error.message)


async def _connection(kubectl: Kubectl) -> AsyncIterator[Finding]:
    try:
        client = await kubectl.ask("version", "--client", "-ojson")
    except SimcloudError as error:
        yield Finding("kubectl", ok=False, detail=error.message)
        return
    version = client["clientVersion"]["gitVersion"]
    new_enough = version_of(version)[:2] >= MIN_CLIENT
    detail = version if new_enough else f"{version}: install {_dotted(MIN_CLIENT)} or newer"
    yield Finding("kubectl", ok=new_enough, detail=detail)
    try:
        server = await kubectl.ask("get", "--raw=/version")
    except SimcloudError as error:
        yield Finding("API server", ok=False, detail=error.message)
        return
    yield _server(server["gitVersion"])


def _server(version: str) -> Finding:
    """Whether the API server's version has what runs stand on."""
    if version_of(version)[:2] >= MIN_SERVER:
        return Finding("Kubernetes", ok=True, detail=version)
    return Finding(
        "Kubernetes",
        ok=False,
        detail=f"{version}: runs need {_dotted(MIN_SERVER)} or newer (podFailurePolicy, "
        "backoffLimitPerIndex, sidecars that end with their pod): upgrade the control plane",
    )


async def _kinds(kubectl: Kubectl, overlay: Overlay) -> dict[tuple[str, str], _Resource | None]:
    """The overlay's kinds by group version and kind; None for one that the cluster hasn't."""
    wanted = {(item["apiVersion"], item["kind"]) for item in overlay.items}
    found: dict[tuple[str, str], _Resource | None] = dict.fromkeys(sorted(wanted))
    for version in sorted({version for version, _ in wanted}):
        group = version.rpartition("/")[0]
        path = f"/apis/{version}" if group else f"/api/{version}"
        try:
            resources = (await kubectl.ask("get", f"--raw={path}"))["resources"]
        except NotFound:
            continue
        for resource in resources:
            key = (version, resource["kind"])
            if key in found and "/" not in resource["name"]:
                found[key] = _Resource(group, resource["name"], resource["namespaced"])
    return found


def _kind_findings(kinds: dict[tuple[str, str], _Resource | None]) -> Iterator[Finding]:
    lacking = [key for key, resource in kinds.items() if resource is None]
    for version, kind in lacking:
        maker, component = _MAKERS.get(
            version.split("/")[0], ("what defines it", "what asks for it")
        )
        yield Finding(
            f"kind {kind}",
            ok=False,
            detail=f"the cluster has no {kind} of {version}: install {maker}, or leave "
            f"{component} out of the overlay",
        )
    if not lacking:
        names = ", ".join(sorted(kind for _, kind in kinds))
        yield Finding("kinds", ok=True, detail=f"the cluster has all: {names}")


async def _rights(
    kubectl: Kubectl, overlay: Overlay, kinds: dict[tuple[str, str], _Resource | None]
) -> Finding:
    """Whether we may do what a run does, asked of the API server itself."""
    asked: list[tuple[str, str, str, str]] = []
    for resource in kinds.values():
        if resource is not None:
            where = overlay.namespace if resource.namespaced else ""
            asked += [
                (verb, resource.group, resource.plural, where) for verb in ("create", "patch")
            ]
    asked += [
        ("get", "batch", "jobs", overlay.namespace),
        ("list", "batch", "jobs", overlay.namespace),
    ]
    asked.append(("list", "", "pods", overlay.namespace))
    reviews = [_review(*each) for each in asked]
    said = await kubectl.text(
        "create",
        "--validate=false",
        "--filename=-",
        '-ojsonpath={.status.allowed}{" "}',
        stdin=yaml.safe_dump_all(reviews),
    )
    # What is not answered is not allowed.
    denied = [
        f"{verb} {plural}{'.' + group if group else ''}"
        for (verb, group, plural, _), allowed in zip_longest(asked, said.split())
        if allowed != "true"
    ]
    if not denied:
        return Finding("rights", ok=True, detail=f"all {len(asked)} in {overlay.namespace}")
    return Finding(
        "rights",
        ok=False,
        detail=f"you may not {', '.join(denied)} in namespace {overlay.namespace}: have a Role "
        "with these bound to you",
    )


def _review(verb: str, group: str, plural: str, namespace: str) -> Manifest:
    attributes = {"verb": verb, "group": group, "resource": plural, "namespace": namespace}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }


async def _namespace(kubectl: Kubectl, overlay: Overlay) -> Finding:
    name = overlay.namespace
    if any(item["kind"] == "Namespace" for item in overlay.items):
        return Finding("namespace", ok=True, detail=f"{name}, made by the overlay")
    try:
        found = await kubectl.find("get", "namespace", name, "-ojson")
    except PermissionDenied:
        return Finding("namespace", ok=True, detail=f"{name}; you may not look at its labels")
    if found is None:
        return Finding("namespace", ok=False, detail=f"there is no namespace {name}: {_BASE}")
    level = found["metadata"].get("labels", {}).get(_POD_SECURITY)
    if level == "restricted":
        return Finding("namespace", ok=True, detail=f"{name}, Pod Security {level}")
    return Finding(
        "namespace",
        ok=True,
        detail=f"{name}; note: Pod Security is {level or 'not enforced'}, our pods keep to "
        f"restricted: `kubectl label namespace {name} {_POD_SECURITY}=restricted`",
    )


async def _others(kubectl: Kubectl, overlay: Overlay) -> AsyncIterator[Finding]:
    """What pods name and the overlay doesn't make."""
    made = {(item["kind"].lower(), item["metadata"]["name"]) for item in overlay.items}
    for kind, name in sorted(_named(overlay) - made):
        scope = () if kind == "priorityclass" else (f"--namespace={overlay.namespace}",)
        try:
            found = await kubectl.find("get", kind, name, *scope, "-ojson")
        except PermissionDenied:
            yield Finding(f"{kind} {name}", ok=True, detail="you may not look at it")
            continue
        detail = "there" if found else f"is not in namespace {overlay.namespace}: {_BASE}"
        yield Finding(f"{kind} {name}", ok=found is not None, detail=detail)
    yield await _uploader(kubectl, overlay)


def _named(overlay: Overlay) -> set[tuple[str, str]]:
    """What a Job's pods need to be there, by kind and name."""
    pod = overlay.job["spec"]["template"]["spec"]
    named = set()
    if "serviceAccountName" in pod:
        named.add(("serviceaccount", pod["serviceAccountName"]))
    if "priorityClassName" in pod:
        named.add(("priorityclass", pod["priorityClassName"]))
    for container in containers(overlay.job):
        for source in container.get("envFrom", []):
            for field, kind in (("configMapRef", "configmap"), ("secretRef", "secret")):
                if field in source and not source[field].get("optional"):
                    named.add((kind, source[field]["name"]))
    for volume in pod.get("volumes", []):
        if claim := volume.get("persistentVolumeClaim"):
            named.add(("persistentvolumeclaim", claim["claimName"]))
        if secret := volume.get("secret"):
            named.add(("secret", secret["secretName"]))
    return named


async def _uploader(kubectl: Kubectl, overlay: Overlay) -> Finding:
    """Whether an uploader is ready behind the address that pods have."""
    address = overlay.settings.get("SIMCLOUD_CONTEXT_UPLOADER", "")
    host = address.removeprefix("dns:///").rpartition(":")[0]
    service, _, rest = host.partition(".")
    if not service:
        detail = f"{overlay.folder} names no SIMCLOUD_CONTEXT_UPLOADER: add it to the ConfigMap"
        return Finding("uploader", ok=False, detail=detail)
    namespace = rest.split(".")[0] or overlay.namespace
    slices = await kubectl.ask(
        "get",
        "endpointslices.discovery.k8s.io",
        f"--namespace={namespace}",
        f"--selector=kubernetes.io/service-name={service}",
        "-ojson",
    )
    ready = sum(
        endpoint.get("conditions", {}).get("ready") is not False
        for item in slices["items"]
        for endpoint in item.get("endpoints") or []
    )
    if ready:
        return Finding("uploader", ok=True, detail=f"{ready} ready behind {address}")
    if await _comes_when_asked_for(kubectl, service, namespace):
        return Finding("uploader", ok=True, detail="none now; KEDA brings it with a run's pods")
    return Finding(
        "uploader",
        ok=False,
        detail=f"nothing is ready behind {address}: {_BASE}, or see `kubectl -n {namespace} get "
        "pods`",
    )


async def _comes_when_asked_for(kubectl: Kubectl, name: str, namespace: str) -> bool:
    """Whether KEDA starts the Deployment from zero (`components/autoscaling-keda`)."""
    try:
        scaler = await kubectl.find(
            "get", "scaledobjects.keda.sh", name, f"--namespace={namespace}", "-ojson"
        )
    except (PermissionDenied, PreconditionFailed):  # the latter where KEDA isn't installed
        return False
    return scaler is not None and scaler["spec"].get("idleReplicaCount") == 0


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
