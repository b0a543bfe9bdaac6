"""`simcloud endpoint package`: a model of a weights folder, as SageMaker's containers want it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from simcloud.errors import InvalidRequest, NotFound, PreconditionFailed
from simcloud_cli.endpoints.archive import Archive, write_archive
from simcloud_cli.endpoints.kinds import PackageFormat
from simcloud_cli.endpoints.packaged import (
    ARCHIVE_NAME,
    DESCRIPTION_NAME,
    PackagedModel,
)
from simcloud_cli.endpoints.triton import repository, triton_entry
from simcloud_cli.model_catalog import model_entry, read_models

_CONTAINER = "simcloud_model_container"
_MODEL_DIR = "/opt/ml/model"
"""Where SageMaker puts what is in model.tar.gz."""
_CHECK_TIMEOUT_S = 120.0

_INFERENCE = b'''"""SageMaker's inference toolkit: what its containers call. Made by simcloud."""

from simcloud_model_container.toolkit import model_fn, transform_fn

__all__ = ["model_fn", "transform_fn"]
'''
_REQUIREMENTS = b"numpy>=2\nonnxruntime\nopencv-python-headless\n"
"""What the inference toolkit installs for `code/`; without a network it must be in the image."""


@dataclass(frozen=True, slots=True)
class MadePackage:
    """A folder with an archive and its description."""

    archive: Archive
    packaged: PackagedModel


def make_package(
    name: str, *, weights: Path, output: Path, package_format: PackageFormat
) -> MadePackage:
    """Packages one model of a weights folder, after it was seen to answer.

    Args:
        name: the model's, in ``models.toml``.
        weights: the folder of it.
        output: folder that gets ``model.tar.gz`` and ``model.json``; made.
        package_format: whose layout.

    Raises:
        NotFound: there is no such model.
        InvalidRequest: the container could not serve it; its own words say why.
        PreconditionFailed: the model container, which is asked, is not installed here.
    """
    table = _table(name, weights)
    members = _members(name, table, weights)
    _check_served(members, where=str(weights))
    output.mkdir(parents=True, exist_ok=True)
    archive_path = output / ARCHIVE_NAME
    if package_format == "triton":
        files, signature = repository(name, weights / table["file"])
        archive = write_archive(archive_path, files)
        entry = triton_entry(model_entry(name, table, weights), signature)
        environment = {"SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": name}
    else:
        archive = write_archive(archive_path, {**members, **_code()})
        entry = model_entry(name, table, weights)
        environment = _environment(name)
    packaged = PackagedModel(
        format=package_format, sha256=archive.sha256, environment=environment, model=entry
    )
    (output / DESCRIPTION_NAME).write_bytes(packaged.as_bytes())
    return MadePackage(archive=archive, packaged=packaged)


def _table(name: str, weights: Path) -> dict[str, Any]:
    where = str(weights / "models.toml")
    try:
        models = read_models(weights)
    except OSError as error:
        raise InvalidRequest(
            "--weights", f"{where}: {error.strerror}; name a folder with models.toml"
        ) from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        problem = f"{where} is no description of models: {error!r}"
        raise InvalidRequest("--weights", problem) from error
    if name not in models:
        raise NotFound(f"{where} has no model {name}; there are {', '.join(models)}")
    return models[name]


def _members(name: str, table: dict[str, Any], weights: Path) -> dict[str, Path | bytes]:
    """What the container reads: the model's own table, weights and labels."""
    members: dict[str, Path | bytes] = {"models.toml": _toml(name, table)}
    for key in ("file", "labels_file"):
        if key not in table:
            raise InvalidRequest(str(weights / "models.toml"), f"model {name} has no `{key}`")
        path = weights / table[key]
        if Path(table[key]).name != table[key] or not path.is_file():
            raise InvalidRequest(
                str(weights / "models.toml"), f"{key} of {name}: {path} is not a file in the folder"
            )
        members[table[key]] = path
    return members


def _environment(name: str) -> dict[str, str]:
    """Settings by which our container serves the archive in place of its own weights."""
    prefix = "SIMCLOUD_MODEL_CONTAINER_"
    return {
        f"{prefix}DEFAULT_MODEL": name,
        f"{prefix}ENDPOINTS": f"{name}={name}",
        f"{prefix}WEIGHTS_FOLDER": _MODEL_DIR,
    }


def _code() -> dict[str, Path | bytes]:
    """`code/` for containers of AWS's: two functions, and the modules of ours behind them."""
    root = _container_folder()
    sources = {
        f"code/{_CONTAINER}/{path.relative_to(root).as_posix()}": path
        for path in root.rglob("*.py")
        if "weights" not in path.relative_to(root).parts
    }
    return {
        "code/inference.py": _INFERENCE,
        "code/requirements.txt": _REQUIREMENTS,
        **sources,
    }


def _container_folder() -> Path:
    found = find_spec(_CONTAINER)
    if found is None or not found.submodule_search_locations:
        raise PreconditionFailed(
            "the model container is not installed in this environment, and it is what says whether "
            "a model can be served: install model-container"
        )
    return Path(found.submodule_search_locations[0])


def _check_served(members: Mapping[str, Path | bytes], *, where: str) -> None:
    """Has the container's own code load what would be sent and answer a picture, in a process."""
    _container_folder()
    with TemporaryDirectory(prefix="simcloud-package-") as folder:
        for name, content in members.items():
            path = Path(folder) / name
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.symlink_to(content.resolve())
        try:
            done = subprocess.run(
                [sys.executable, "-m", f"{_CONTAINER}.toolkit", folder],
                capture_output=True,
                text=True,
                check=False,
                timeout=_CHECK_TIMEOUT_S,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        except subprocess.TimeoutExpired as error:
            raise InvalidRequest(
                where, f"the model answered no picture within {_CHECK_TIMEOUT_S:.0f} s"
            ) from error
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise InvalidRequest(
            where, "the container can't serve it: " + words[0].replace(f"{folder}/", "")
        )


def _toml(name: str, table: Mapping[str, Any]) -> bytes:
    """``models.toml`` of one model. JSON's strings, numbers and lists are TOML's too."""
    head = f"models.{json.dumps(name)}"
    lines = [f"[{head}]"]
    nested: list[str] = []
    for key, value in table.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            for row in value:
                nested += ["", f"[[{head}.{key}]]", *_pairs(row)]
        else:
            lines += _pairs({key: value})
    return ("\n".join([*lines, *nested]) + "\n").encode()


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in table.items()]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
