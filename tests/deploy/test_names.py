"""The tree is the architecture diagram: one deployable has one name wherever it stands."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from simcloud_cli.model_catalog import weights_folder, write_catalog

ROOT = Path(__file__).parents[2]
DEPLOYABLES = {
    "simcloud-generator": ROOT / "services" / "generator",
    "simcloud-uploader": ROOT / "services" / "uploader",
    "simcloud-inference-router": ROOT / "services" / "inference-router",
    "simcloud-model-container": ROOT / "model-container",
    "simcloud": ROOT / "packages" / "simcloud",
    "simcloud-cli": ROOT / "packages" / "simcloud-cli",
}


@pytest.mark.parametrize("name", DEPLOYABLES)
def test_folder_package_and_module_share_one_name(name: str) -> None:
    folder = DEPLOYABLES[name]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == name
    assert project["license"] == "Apache-2.0"
    assert (folder / "src" / name.replace("-", "_") / "py.typed").is_file()


@pytest.mark.parametrize("name", ["generator", "uploader", "inference-router"])
def test_every_service_has_unit_tests_under_its_name_and_a_readme(name: str) -> None:
    assert list((ROOT / "tests" / "unit" / name.replace("-", "_")).glob("test_*.py"))
    assert (ROOT / "services" / name / "README.md").is_file()


def test_the_shipped_catalogue_and_the_embedded_one_describe_the_same_models(
    tmp_path: Path,
) -> None:
    write_catalog(tmp_path / "made.yaml", folder=weights_folder(), model_url="http://127.0.0.1:1")
    made = yaml.safe_load((tmp_path / "made.yaml").read_text())["models"]
    shipped_file = ROOT / "services" / "inference-router" / "catalog" / "local.yaml"
    shipped = yaml.safe_load(shipped_file.read_text())["models"]
    for field in ("name", "versions", "task", "digest", "inputs", "outputs", "max_batch_size"):
        assert [model[field] for model in made] == [model[field] for model in shipped], field
