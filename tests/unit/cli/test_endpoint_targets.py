"""An endpoint in the router's catalogue: what is written is what the router reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from simcloud.errors import InvalidRequest
from simcloud_cli.endpoints.deployment import Deployment
from simcloud_cli.endpoints.targets import changed_catalog
from simcloud_cli.model_catalog import model_entry, read_models, weights_folder, write_catalog
from simcloud_inference_router.catalog import load_catalog

REGION = "eu-central-1"
FOLDER = weights_folder()
MODEL = model_entry("nanodet-g", read_models(FOLDER)["nanodet-g"], FOLDER)
KINDS: list[tuple[dict[str, Any], str]] = [
    ({"kind": "realtime"}, "sagemaker"),
    ({"kind": "serverless", "instance_type": ""}, "sagemaker_serverless"),
    ({"kind": "async", "async_output": "s3://bucket/out/"}, "sagemaker_async"),
    ({"kind": "component", "instances": 0}, "sagemaker"),
]


def deployment(name: str = "detector", **more: Any) -> Deployment:
    return Deployment.model_validate(
        {
            "name": name,
            "kind": "realtime",
            "role": "arn:aws:iam::123456789012:role/endpoints",
            "image": "image",
            "instance_type": "ml.c6i.large",
            **more,
        }
    )


def changed(path: Path, d: Deployment, canary: float | None = None) -> dict[str, Any]:
    found = changed_catalog(path, MODEL, d, region=REGION, canary_percent=canary)
    found.write()
    return dict(found.entry)


@pytest.mark.parametrize(("fields", "kind"), KINDS)
def test_the_router_reads_every_kind(tmp_path: Path, fields: dict[str, Any], kind: str) -> None:
    path = tmp_path / "catalog.yaml"
    changed(path, deployment(**fields))
    model = load_catalog(path).model("nanodet-g")
    (target,) = model.targets
    assert (target.kind, target.endpoint, target.region) == (kind, "detector", REGION)
    assert target.component == ("detector" if fields["kind"] == "component" else "")
    assert (model.cold_start is not None) == (fields["kind"] == "component")


def test_a_canary_has_its_share_beside_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    write_catalog(path, folder=FOLDER, model_url="http://127.0.0.1:1")
    changed(path, deployment(), canary=10)
    catalog = load_catalog(path)
    model = catalog.model("nanodet-g")
    assert [target.name for target in model.targets] == ["nanodet-g", "detector"]
    assert model.canary is not None
    assert (model.canary.target, model.canary.percent) == ("detector", 10)
    assert [item.name for item in catalog.models] == ["nanodet-g", "efficientnet-lite0"]


def test_a_second_time_changes_nothing_and_keeps_what_was_set_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    changed(path, deployment())
    document = yaml.safe_load(path.read_text())
    document["models"][0]["targets"][0]["weight"] = 0.5
    path.write_text(yaml.safe_dump(document))
    changed(path, deployment())
    assert yaml.safe_load(path.read_text()) == document


def test_what_else_the_catalogue_says_stays(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    discovery = {"region": REGION, "every_s": 30.0}
    path.write_text(yaml.safe_dump({"discovery": discovery, "models": []}))
    changed(path, deployment())
    assert yaml.safe_load(path.read_text())["discovery"] == discovery
    options = load_catalog(path).discovery
    assert options is not None
    assert (options.region, options.every_s) == (REGION, 30.0)


def test_a_canary_that_would_be_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no other target"):
        changed(tmp_path / "catalog.yaml", deployment(), canary=10)


def test_another_model_of_the_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    entry = {**MODEL, "digest": "0" * 64, "targets": [{"name": "t", "kind": "container"}]}
    path.write_text(yaml.safe_dump({"models": [entry]}))
    with pytest.raises(InvalidRequest, match="predictions of two models would mix"):
        changed(path, deployment())


@pytest.mark.parametrize("text", ["models: 3", "- 1", "models: [1]", "a: [", ""])
def test_what_is_no_catalogue_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match="catalog"):
        changed(path, deployment())
    assert path.read_text() == text
