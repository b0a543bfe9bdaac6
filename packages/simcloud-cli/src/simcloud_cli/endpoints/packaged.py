"""What is known of a packaged model, beside its archive: `model.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from simcloud.errors import InvalidRequest
from simcloud_cli.endpoints.kinds import PackageFormat

ARCHIVE_NAME = "model.tar.gz"
DESCRIPTION_NAME = "model.json"


class PackagedModel(BaseModel):
    """A packaged model, as `deploy` needs to know it: it can't look into an archive in S3."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: PackageFormat
    sha256: str
    """Of the archive."""
    environment: dict[str, str]
    """What the container must be told to serve it."""
    model: dict[str, Any]
    """The model as the router's catalogue has it, without targets."""

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.model["name"])

    def as_bytes(self) -> bytes:
        """The file's bytes."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def read_packaged(data: bytes, *, where: str) -> PackagedModel:
    """What a `model.json` says.

    Args:
        data: its bytes.
        where: it was read, for messages.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        return PackagedModel.model_validate_json(data)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in found["loc"])
        problem = f"is no {DESCRIPTION_NAME} ({place}: {found['msg']})"
        raise InvalidRequest(where, problem) from error


def read_package_folder(folder: Path) -> tuple[Path, PackagedModel]:
    """The archive of a folder that `endpoint package` made, and what is known of it.

    Raises:
        InvalidRequest: it is no such folder.
    """
    archive, description = folder / ARCHIVE_NAME, folder / DESCRIPTION_NAME
    for path in (archive, description):
        if not path.is_file():
            raise InvalidRequest(
                "--model", f"{path} is not there: make it by `simcloud endpoint package`"
            )
    return archive, read_packaged(description.read_bytes(), where=str(description))
