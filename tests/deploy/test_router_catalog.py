"""The router's catalogue as Kubernetes mounts it: there, valid, and followed without a restart."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest

from simcloud_inference_router.catalog import Catalog, digest_now, load_catalog
from support.manifests import ROOT, Manifest, named, rendered

CONFIG_MAP = "router-catalog"
SHIPPED = ROOT / "services" / "inference-router" / "catalog"
OVERLAYS = ("overlays/kind", "overlays/eks", "tests/eks-mtls")


def mount(combination: str) -> Manifest:
    """How the router's container mounts the ConfigMap."""
    pod = named(rendered(combination), "Deployment", "inference-router")["spec"]["template"]["spec"]
    (volume,) = [
        each["name"]
        for each in pod["volumes"]
        if each.get("configMap", {}).get("name") == CONFIG_MAP
    ]
    (found,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == volume]
    return dict(found)


def file_named(combination: str) -> PurePosixPath:
    """The file that the settings name."""
    pod = named(rendered(combination), "Deployment", "inference-router")["spec"]["template"]["spec"]
    (source,) = [each["configMapRef"]["name"] for each in pod["containers"][0]["envFrom"][:1]]
    settings = named(rendered(combination), "ConfigMap", source)["data"]
    return PurePosixPath(settings["SIMCLOUD_INFERENCE_ROUTER_CATALOG"])


def mounted(combination: str, folder: Path, generation: str = "1") -> Path:
    """The catalogue's file, in a folder as the kubelet fills it: links through one it exchanges."""
    data = named(rendered(combination), "ConfigMap", CONFIG_MAP)["data"]
    (folder / f"..{generation}").mkdir(parents=True)
    for name, content in data.items():
        (folder / f"..{generation}" / name).write_text(content, encoding="utf-8")
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(f"..{generation}")
    (folder / "..data_tmp").rename(folder / "..data")
    return folder / file_named(combination).name


@pytest.mark.parametrize("combination", OVERLAYS)
def test_the_file_that_the_router_reads_is_in_the_config_map_that_it_mounts(
    combination: str,
) -> None:
    found = mount(combination)
    path = file_named(combination)
    assert PurePosixPath(found["mountPath"]) == path.parent
    # With either the content would stay as it was when the pod began.
    assert not {"subPath", "subPathExpr"} & found.keys()
    assert path.name in named(rendered(combination), "ConfigMap", CONFIG_MAP)["data"]


@pytest.mark.parametrize("combination", OVERLAYS)
def test_it_loads_with_the_routers_own_code(combination: str, tmp_path: Path) -> None:
    catalog = load_catalog(mounted(combination, tmp_path))
    assert {model.name for model in catalog.models} == {"nanodet-g", "efficientnet-lite0"}
    assert all(model.labels for model in catalog.models)


def test_a_changed_config_map_is_seen_where_it_is_mounted(tmp_path: Path) -> None:
    path = mounted("overlays/kind", tmp_path, "1")
    before = digest_now(path, ("coco80.txt",))
    assert mounted("overlays/eks", tmp_path, "2") == path
    assert digest_now(path, ("coco80.txt",)) != before
    assert load_catalog(path).model("nanodet-g").targets[0].endpoint == "simcloud-nanodet"


def test_on_eks_the_models_are_the_shipped_ones_at_endpoints_that_terraform_makes(
    tmp_path: Path,
) -> None:
    ours = load_catalog(mounted("overlays/eks", tmp_path))
    assert _without_places(ours) == _without_places(load_catalog(SHIPPED / "local.yaml"))
    example = (ROOT / "deploy/terraform/live/example.tfvars").read_text(encoding="utf-8")
    modes = dict(re.findall(r'^#   (\w+) = \{\n#     mode +?= "([a-z-]+)"', example, re.MULTILINE))
    kinds = {"serverless": "sagemaker_serverless", "component": "sagemaker"}
    assert {target.endpoint: target.kind for model in ours.models for target in model.targets} == {
        f"simcloud-{key}": kinds[mode] for key, mode in modes.items()
    }


def _without_places(catalog: Catalog) -> list[dict[str, object]]:
    places = {"targets", "cold_start"}
    return [model.model_dump(mode="json", exclude=places) for model in catalog.models]
