"""Nodes with GPUs that Isaac Sim can render on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from simcloud.errors import PermissionDenied
from simcloud.gpu import has_rt_cores
from simcloud_cli.findings import Finding
from simcloud_cli.kubernetes.kubectl import Kubectl, Manifest
from simcloud_cli.kubernetes.manifests import Overlay

RESOURCE = "nvidia.com/gpu"
_PRODUCT = "nvidia.com/gpu.product"
"""Label of GPU feature discovery, `NVIDIA-L40S`."""
_INSTANCE = "node.kubernetes.io/instance-type"
_MEND = (
    "add nodes of AWS's G family (g5, g6, g6e) or with RTX cards, and NVIDIA's device plug-in "
    "(https://github.com/NVIDIA/k8s-device-plugin)"
)


async def gpu_findings(kubectl: Kubectl, overlay: Overlay) -> Finding:
    """Whether a node has, or will have, a GPU with RT cores for the overlay's pods."""
    try:
        nodes = (await kubectl.ask("get", "nodes", "-ojson"))["items"]
    except PermissionDenied:
        return Finding("GPU nodes", ok=True, detail="you may not look at nodes")
    return judge(nodes, pools=[item for item in overlay.items if item["kind"] == "NodePool"])


def judge(nodes: Sequence[Manifest], *, pools: Sequence[Manifest]) -> Finding:
    """The finding for some nodes.

    Args:
        nodes: of the cluster.
        pools: Karpenter's, of the overlay: they make nodes when pods ask.
    """
    there = [node for node in nodes if _gpus(node)]
    able = [node for node in there if _renders(node) is not False]
    if able:
        products = Counter(_name(node) for node in able)
        words = ", ".join(f"{count} of {name}" for name, count in sorted(products.items()))
        return Finding("GPU nodes", ok=True, detail=words)
    if pools:
        names = ", ".join(pool["metadata"]["name"] for pool in pools)
        return Finding("GPU nodes", ok=True, detail=f"none now; Karpenter's {names} makes them")
    if there:
        words = ", ".join(sorted({_name(node) for node in there}))
        detail = f"{words} have no RT cores, which Isaac Sim renders with: {_MEND}"
        return Finding("GPU nodes", ok=False, detail=detail)
    detail = f"no node has {RESOURCE} allocatable: {_MEND}"
    return Finding("GPU nodes", ok=False, detail=detail)


def _gpus(node: Manifest) -> int:
    text = str(node.get("status", {}).get("allocatable", {}).get(RESOURCE, "0"))
    return int(text) if text.isdecimal() else 0


def _renders(node: Manifest) -> bool | None:
    """By the GPU's name, else by AWS's family: G has RT cores, P has none."""
    labels = node["metadata"].get("labels", {})
    if _PRODUCT in labels:
        return has_rt_cores(labels[_PRODUCT])
    family = str(labels.get(_INSTANCE, "")).partition(".")[0]
    if family[:1] == "g" and family[1:2].isdigit():
        # g2 and g3 are Kepler and Maxwell; g4ad is AMD's.
        return family[1] >= "4" and family != "g4ad"
    return False if family[:1] == "p" and family[1:2].isdigit() else None


def _name(node: Manifest) -> str:
    labels = node["metadata"].get("labels", {})
    return str(labels.get(_PRODUCT) or labels.get(_INSTANCE) or node["metadata"]["name"])
