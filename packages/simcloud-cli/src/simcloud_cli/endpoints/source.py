"""The model of `simcloud endpoint deploy`: a URI, a folder that is uploaded, or a version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simcloud.errors import Corruption, InvalidRequest
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.package import sha256_of
from simcloud_cli.endpoints.packaged import PackagedModel, read_package_folder
from simcloud_cli.endpoints.registry import model_data_of
from simcloud_cli.endpoints.upload import packaged_at, planned_uri, upload_package


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the model comes from."""

    model: str
    """``s3://.../model.tar.gz``, a folder of `endpoint package`, or empty."""
    to: str
    """Where a folder is uploaded to."""
    package: str
    """ARN of a version in the Model Registry, or empty."""
    environment: tuple[str, ...]
    """``NAME=VALUE`` each, beside what the package says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of the model that shall be deployed."""

    model_data: str
    """Its archive's URI; empty: in the image."""
    environment: dict[str, str]
    packaged: PackagedModel | None = None
    """None: it was not made by `endpoint package`."""
    archive: Path | None = None
    """Of a folder: still to be put to ``model_data``."""

    @property
    def entry(self) -> Mapping[str, Any] | None:
        """As the router's catalogue has it."""
        return self.packaged.model if self.packaged is not None else None


async def find_model(aws: Aws, source: Source, place: AwsPlace, *, registers: bool) -> Found:
    """What is known of a model; nothing is uploaded yet.

    Args:
        aws: the account.
        source: of the model.
        place: whose S3.
        registers: whether it shall become a version of the Model Registry.

    Raises:
        InvalidRequest: options that don't go together, or no such folder.
        Corruption: a folder's archive is not what its `model.json` says.
        PreconditionFailed: the version is not approved.
        SimcloudError: as ``Aws.ask`` and ``simcloud.s3.errors``.
    """
    given = _environment(source.environment)
    if source.package:
        if registers or source.model or given:
            raise InvalidRequest(
                "--package",
                "a registered version is deployed as it is: leave --registry, --model "
                "and --env out",
            )
        model_data = await model_data_of(aws, source.package)
        packaged = await packaged_at(model_data, place) if model_data else None
        return Found(model_data=model_data, environment={}, packaged=packaged)
    if not source.model:
        return Found(model_data="", environment=given)
    if source.model.startswith("s3://"):
        packaged = await packaged_at(source.model, place)
        return Found(model_data=source.model, environment=_with(packaged, given), packaged=packaged)
    archive, packaged = read_package_folder(Path(source.model))
    if sha256_of(archive) != packaged.sha256:
        raise Corruption(
            f"{archive} is not the archive that its model.json describes: package it again"
        )
    if not source.to:
        raise InvalidRequest(
            "--to", "SageMaker reads models from S3: say where this folder goes, s3://bucket/prefix"
        )
    return Found(
        model_data=planned_uri(source.to, packaged),
        environment=_with(packaged, given),
        packaged=packaged,
        archive=archive,
    )


async def upload(found: Found, source: Source, place: AwsPlace) -> None:
    """Puts a folder's archive where its model is looked for; everything else is there already.

    Raises:
        SimcloudError: as ``upload_package``.
    """
    if found.archive is not None and found.packaged is not None:
        await upload_package(found.archive, found.packaged, to=source.to, place=place)


def _with(packaged: PackagedModel | None, given: dict[str, str]) -> dict[str, str]:
    return {**(packaged.environment if packaged else {}), **given}


def _environment(pairs: Iterable[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidRequest("--env", f"expected NAME=VALUE, found {pair!r}")
        found[name] = value
    return found
