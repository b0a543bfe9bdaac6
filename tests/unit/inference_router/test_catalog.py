from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest
import yaml

from simcloud.errors import InvalidRequest, NotFound, PreconditionFailed
from simcloud_inference_router.catalog import Catalog, load_catalog

ROOT = Path(__file__).parents[3]
LOCAL = ROOT / "services" / "inference-router" / "catalog" / "local.yaml"
WEIGHTS = ROOT / "model-container" / "src" / "simcloud_model_container" / "weights"

DIGEST = "0" * 64
TARGET = {"name": "det", "kind": "sagemaker", "endpoint": "det"}
TENSOR: dict[str, object] = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
MODEL: dict[str, object] = {
    "name": "det",
    "versions": ["1", "2"],
    "task": "object_detection",
    "digest": DIGEST,
    "inputs": [TENSOR],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    "targets": [TARGET],
}


def written(folder: Path, *models: object) -> Path:
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump({"models": list(models)}))
    return path


def test_the_shipped_catalogue_agrees_with_the_model_container() -> None:
    catalog = load_catalog(LOCAL)
    described = tomllib.loads((WEIGHTS / "models.toml").read_text())["models"]
    assert {model.name for model in catalog.models} == set(described)
    for model in catalog.models:
        theirs = described[model.name]
        identity = f"{theirs['sha256']} {theirs['family']} {theirs['version']}"
        assert model.digest == hashlib.sha256(identity.encode()).hexdigest()
        assert theirs["version"] in model.versions
        assert model.labels == tuple((WEIGHTS / theirs["labels_file"]).read_text().splitlines())
        for ours, known in ((model.inputs, theirs["inputs"]), (model.outputs, theirs["outputs"])):
            contract = {each["name"]: (each["datatype"], tuple(each["shape"])) for each in known}
            for tensor in ours:
                assert contract[tensor.name] == (tensor.datatype, tensor.shape)
        assert {tensor.name for tensor in model.outputs} == {
            each["name"] for each in theirs["outputs"]
        }


def test_a_model_is_found_by_name_and_version(tmp_path: Path) -> None:
    catalog = load_catalog(written(tmp_path, MODEL))
    assert catalog.model("det").name == "det"
    assert catalog.model("det", "2").name == "det"
    with pytest.raises(NotFound, match="no version '3'; it has: 1, 2"):
        catalog.model("det", "3")
    with pytest.raises(NotFound, match="the catalogue has: det"):
        catalog.model("cat")
    with pytest.raises(InvalidRequest):
        catalog.model("")


def test_labels_come_from_a_file_beside_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    catalog = load_catalog(written(tmp_path, {**MODEL, "labels_file": "labels.txt"}))
    assert catalog.model("det").labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"targets": []}, "targets"),
        ({"targets": [{"name": "a", "kind": "sagemaker"}]}, "needs `endpoint`"),
        ({"targets": [{"name": "a", "kind": "container"}]}, "needs `url`"),
        ({"targets": [{**TARGET, "kind": "container", "url": "http://h:1"}]}, "endpoint means nothing"),
        ({"targets": [{**TARGET, "kind": "lambda"}]}, "kind"),
        ({"targets": [{**TARGET, "variant": "a b"}]}, "variant"),
        ({"targets": [{**TARGET, "max_request_bytes": 0}]}, "max_request_bytes"),
        ({"digest": "abc"}, "digest"),
        ({"inputs": []}, "needs inputs and outputs"),
        ({"max_batch_size": 4, "inputs": [{**TENSOR, "shape": [4]}]}, "-1 first"),
        ({"tensor_codec": "npy", "outputs": [TENSOR, TENSOR]}, "one tensor each way"),
        ({"labels": ["a"], "labels_file": "b"}, "not both"),
        ({"labels_file": "absent.txt"}, "can't be read"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_catalogue_is_refused_with_the_place_and_the_problem(
    tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    with pytest.raises(PreconditionFailed, match=problem):
        load_catalog(written(tmp_path, {**MODEL, **change}))


def test_names_are_unique_over_models_and_over_targets(tmp_path: Path) -> None:
    with pytest.raises(PreconditionFailed, match="model names must be unique; given twice: det"):
        load_catalog(written(tmp_path, MODEL, MODEL))
    with pytest.raises(PreconditionFailed, match="target names must be unique; given twice: det"):
        load_catalog(written(tmp_path, MODEL, {**MODEL, "name": "other"}))


def test_a_file_that_is_no_yaml_or_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PreconditionFailed, match="can't be read"):
        load_catalog(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("models: [")
    with pytest.raises(PreconditionFailed, match="not YAML"):
        load_catalog(tmp_path / "bad.yaml")


def test_a_catalogue_is_frozen() -> None:
    catalog = Catalog(models=())
    with pytest.raises(ValueError, match="frozen"):
        catalog.models = ()  # type: ignore[misc]
