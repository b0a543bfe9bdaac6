from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest
import yaml

from simcloud.accounting.prices import prices
from simcloud.errors import InvalidRequest, NotFound, PreconditionFailed
from simcloud_inference_router.catalog import Catalog, load_catalog
from simcloud_inference_router.yaml_document import DuplicateKeyError, load_yaml

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
        (
            {"targets": [{**TARGET, "kind": "container", "url": "http://h:1"}]},
            "endpoint means nothing",
        ),
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
        ({"targets": [{**TARGET, "kind": "sagemaker_async"}]}, "needs `input_prefix`"),
        (
            {"targets": [{**TARGET, "inline_bytes": 1, "delete_output": True}]},
            "delete_output, inline_bytes mean nothing for kind sagemaker; remove them",
        ),
        (
            {"targets": [{**TARGET, "kind": "sagemaker_serverless", "variant": "a"}]},
            "variant means",
        ),
        (
            {"targets": [{**TARGET, "kind": "sagemaker_serverless", "max_request_bytes": 5 << 20}]},
            "at most 4194304 for kind sagemaker_serverless",
        ),
        ({"targets": [{**TARGET, "kind": "sagemaker_stream", "sessions": True}]}, "sessions means"),
        (
            {"targets": [{"name": "a", "kind": "aws_inference_router", "inference_router": "r"}]},
            "needs `routing_target`",
        ),
        ({"targets": [{**TARGET, "target_models": [""]}]}, "target_models"),
        ({"decoupled": True}, "decoupled needs targets of kind sagemaker_stream; others: det"),
        (
            {"decoupled": True, "targets": [{**TARGET, "kind": "sagemaker_stream"}]},
            "decoupled needs a codec that reads parts",
        ),
        (
            {
                "targets": [
                    {**TARGET, "kind": "sagemaker_stream", "part_framing": "lines"},
                ]
            },
            "part_framing means nothing",
        ),
        ({"tensor_codec": "csv", "outputs": [TENSOR, TENSOR]}, "one tensor each way"),
        ({"tensor_codec": "csv", "inputs": [{**TENSOR, "shape": [-1]}]}, "two dimensions"),
        ({"tensor_codec": "csv", "outputs": [{**TENSOR, "datatype": "BYTES"}]}, "of numbers"),
        ({"tensor_codec": "bytes"}, r"BYTES of shape \[1\]"),
        ({"tensor_codec": "instances_json", "outputs": [{**TENSOR, "shape": [4]}]}, "-1 first"),
        ({"media_type": "text/plain"}, "mean nothing for codec triton_binary"),
        (
            {"targets": [{**TARGET, "instance_type": "ml.x1.huge"}]},
            "the price of instance_type ml.x1.huge is not known here .*give `usd_per_hour`",
        ),
    ],
)
def test_a_wrong_catalogue_is_refused_with_the_place_and_the_problem(
    tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    with pytest.raises(PreconditionFailed, match=problem):
        load_catalog(written(tmp_path, {**MODEL, **change}))


def test_a_target_is_priced_by_its_entry_or_by_the_dated_table(tmp_path: Path) -> None:
    g5 = {"instance_type": "ml.g5.xlarge"}
    other: dict[str, object] = {"instance_type": "ml.x1.huge", "usd_per_hour": 2.5}
    found = []
    for price in ({}, g5, {**g5, "usd_per_hour": 0}, other):
        catalog = load_catalog(written(tmp_path, {**MODEL, "targets": [{**TARGET, **price}]}))
        found.append(catalog.model("det").targets[0].price_per_hour)
    assert found == [None, prices()["ml.g5.xlarge"].usd_per_hour, 0, 2.5]


def test_limits_and_times_are_those_of_the_kind_unless_given(tmp_path: Path) -> None:
    s3 = {"input_prefix": "bucket/in", "output_prefix": "bucket/out"}
    targets = [
        TARGET,
        {**TARGET, "kind": "sagemaker_serverless"},
        {**TARGET, "kind": "sagemaker_async", **s3},
        {**TARGET, "kind": "sagemaker_stream"},
        {
            "name": "det",
            "kind": "aws_inference_router",
            "inference_router": "fleet",
            "routing_target": "det",
        },
        {**TARGET, "timeout_s": 5, "max_request_bytes": 25 << 20},
    ]
    found = []
    for target in targets:
        catalog = load_catalog(written(tmp_path, {**MODEL, "targets": [target]}))
        (entry,) = catalog.model("det").targets
        found.append((entry.timeout_s, entry.max_request_bytes))
    assert found == [
        (60, 6_291_456),
        (60, 4 << 20),
        (900, 1 << 30),
        (480, 6_291_456),
        (170, 6_291_456),
        (5, 25 << 20),
    ]


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


def test_an_empty_file_is_told_what_it_needs(tmp_path: Path) -> None:
    for text in ("", "# nothing yet\n", "---\n"):
        (tmp_path / "empty.yaml").write_text(text)
        with pytest.raises(PreconditionFailed, match=r"empty\.yaml is empty; it needs `models`"):
            load_catalog(tmp_path / "empty.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: []\nmodels: []\n", r"line 2: `models` stands in line 1 already"),
        ("models:\n- name: det\n  task: a\n  name: other\n", r"line 4: `name` stands in line 2"),
        ("models:\n- {targets: [{weight: 1, weight: 2}]}\n", r"line 2: `weight` stands in line 2"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_lines(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "twice.yaml").write_text(text)
    with pytest.raises(PreconditionFailed, match=told):
        load_catalog(tmp_path / "twice.yaml")


def test_what_is_merged_in_may_be_overridden(tmp_path: Path) -> None:
    text = "models: []\ndiscovery: &d {every_s: 60.0}\n"
    assert load_yaml(f"{text}other: {{<<: *d, every_s: 30.0}}") == {
        "models": [],
        "discovery": {"every_s": 60.0},
        "other": {"every_s": 30.0},
    }


def test_what_merges_is_merged_in_again_from_any_depth() -> None:
    text = """
first: {inner: {deep: &b {<<: &a {x: 1}, x: 2}}}
second: {<<: *b}
third: {<<: [*b, *a], y: 3}
"""
    assert load_yaml(text) == {
        "first": {"inner": {"deep": {"x": 2}}},
        "second": {"x": 2},
        "third": {"x": 2, "y": 3},
    }
    with pytest.raises(DuplicateKeyError, match="line 2: `x` stands in line 2 already"):
        load_yaml("\nfirst: {<<: {z: 0}, inner: [{x: 1, x: 2}]}")
    around = load_yaml("&a {itself: *a}")
    assert isinstance(around, dict)
    assert around["itself"] is around


def test_a_catalogue_is_frozen() -> None:
    catalog = Catalog(models=())
    with pytest.raises(ValueError, match="frozen"):
        catalog.models = ()  # type: ignore[misc]
