"""deploy/k8s, rendered by kustomize."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
Manifest = dict[str, Any]


@cache
def rendered(combination: str) -> tuple[Manifest, ...]:
    """Everything that a kustomization below deploy/k8s makes."""
    return render(K8S / combination)


def render(folder: Path) -> tuple[Manifest, ...]:
    """Everything that a kustomization makes, whose folder is anywhere.

    Skips the test where neither kubectl nor kustomize is installed.
    """
    if shutil.which("kubectl"):
        command = ["kubectl", "kustomize"]
    elif shutil.which("kustomize"):
        command = ["kustomize", "build"]
    else:
        pytest.skip("neither kubectl nor kustomize is installed")
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def overlay(folder: Path, resources: str, *components: str) -> tuple[Manifest, ...]:
    """What a base becomes with components on it, in their order.

    Args:
        folder: for the kustomization, which is written there.
        resources: the base, below deploy/k8s.
        components: below deploy/k8s.
    """

    def path(name: str) -> str:
        # Kustomize takes no absolute ones.
        return os.path.relpath(K8S / name, folder)

    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "simcloud",
        "resources": [path(resources)],
        "components": [path(name) for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return render(folder)


def only(items: tuple[Manifest, ...], *kinds: str) -> list[Manifest]:
    """Those of some kinds."""
    return [item for item in items if item["kind"] in kinds]


def named(items: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    """The one of that kind and name."""
    (found,) = [item for item in only(items, kind) if item["metadata"]["name"] == name]
    return found


def of_kind(combination: str, *kinds: str) -> list[Manifest]:
    """What a kustomization below deploy/k8s makes of some kinds."""
    return only(rendered(combination), *kinds)


def pods(combination: str) -> Iterator[tuple[str, Manifest]]:
    """Name and pod spec of everything that runs."""
    for item in of_kind(combination, "Deployment", "StatefulSet", "DaemonSet", "Job"):
        yield f"{item['kind']}/{item['metadata']['name']}", item["spec"]["template"]["spec"]


def containers(pod: Manifest) -> list[Manifest]:
    """All containers of a pod spec, those that start first included."""
    return [*pod.get("initContainers", []), *pod["containers"]]
