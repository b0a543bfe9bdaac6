"""The router's catalogue of the embedded stack: the models that the local container serves."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from simcloud.errors import PreconditionFailed

_PACKAGE = "simcloud_model_container"
_TASKS = {"nanodet": "object_detection", "efficientnet_lite": "image_classification"}


def weights_folder() -> Path:
    """The folder of packaged weights, found without importing the container.

    Raises:
        PreconditionFailed: the model container is not installed here.
    """
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise PreconditionFailed(
            "the model container is not installed in this environment: install model-container, "
            "or use a context that names running services"
        )
    return Path(found.submodule_search_locations[0]) / "weights"


def write_catalog(path: Path, *, folder: Path, model_url: str) -> None:
    """Writes the catalogue for models of a weights folder served at one address.

    The container answers as SageMaker's runtime does (``/endpoints/<name>/invocations``), so that
    the router's SageMaker path is the one in use.
    """
    models = tomllib.loads((folder / "models.toml").read_text(encoding="utf-8"))["models"]
    entries = [_entry(name, table, folder, model_url) for name, table in models.items()]
    path.write_text(yaml.safe_dump({"models": entries}, sort_keys=False), encoding="utf-8")


def _entry(name: str, table: dict[str, Any], folder: Path, model_url: str) -> dict[str, object]:
    return {
        "name": name,
        "versions": [table["version"]],
        "task": _TASKS[table["family"]],
        "digest": _digest(table),
        "labels": (folder / table["labels_file"]).read_text(encoding="utf-8").splitlines(),
        # The first input is the picture as it is; the router's contract names one set of inputs.
        "inputs": [_tensor(table["inputs"][0])],
        "outputs": [_tensor(item) for item in table["outputs"]],
        "max_batch_size": 16,
        "targets": [
            {
                "name": name,
                "kind": "sagemaker",
                "endpoint": name,
                "url": model_url,
            }
        ],
    }


def _tensor(table: dict[str, Any]) -> dict[str, object]:
    return {key: table[key] for key in ("name", "datatype", "shape")}


def _digest(table: dict[str, Any]) -> str:
    """What names the model's predictions, by the rule of the router's own local catalogue.

    The family and the version name the pre- and post-processing.
    """
    parts = f"{table['sha256']} {table['family']} {table['version']}"
    return hashlib.sha256(parts.encode()).hexdigest()
