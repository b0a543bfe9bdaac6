"""`simcloud endpoint package`: a folder with the archive, and its place in S3."""

from __future__ import annotations

from pathlib import Path

from simcloud_cli.endpoints.aws import AwsPlace
from simcloud_cli.endpoints.kinds import PackageFormat
from simcloud_cli.endpoints.package import make_package
from simcloud_cli.endpoints.upload import split_uri, upload_package
from simcloud_cli.interrupt import run_async
from simcloud_cli.model_catalog import weights_folder
from simcloud_cli.output import console, human_bytes, print_json


def package_model(
    name: str,
    *,
    weights: Path | None,
    output: Path | None,
    package_format: PackageFormat,
    to: str,
    place: AwsPlace,
    as_json: bool,
) -> None:
    """Packages a model, uploads it where asked, and prints what it is.

    Args:
        name: of a model in the weights folder.
        weights: a folder with ``models.toml``; None: the model container's.
        output: where the archive goes; None: a folder of the model's name here.
        package_format: whose layout.
        to: ``s3://bucket/prefix`` to upload to; empty: nowhere.
        place: whose S3.
        as_json: one JSON document in place of lines.

    Raises:
        SimcloudError: as ``make_package`` and ``upload_package``.
    """
    if to:
        split_uri(to, field="--to")
    folder = output or Path(f"{name}-{package_format}")
    made = make_package(
        name,
        weights=weights or weights_folder(),
        output=folder,
        package_format=package_format,
    )
    archive, packaged = made.archive, made.packaged
    uri = ""
    if to:
        uri = run_async(upload_package(archive.path, packaged, to=to, place=place))
    if as_json:
        print_json(
            {
                "archive": str(archive.path),
                "sha256": archive.sha256,
                "size_bytes": archive.size_bytes,
                "uri": uri,
                **packaged.model_dump(exclude={"sha256"}),
            }
        )
        return
    out = console()
    size = human_bytes(archive.size_bytes)
    out.print(f"{archive.path}: {size}, SHA-256 {archive.sha256}", markup=False)
    for key, value in packaged.environment.items():
        out.print(f"  {key}={value}", markup=False)
    if uri:
        out.print(uri, markup=False)
