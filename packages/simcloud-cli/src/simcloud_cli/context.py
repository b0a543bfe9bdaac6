"""Contexts: named sets of endpoints, bucket and credentials, in one settings file.

Containers and schedulers need no file: the context ``environment`` is made of the variables
``SIMCLOUD_CONTEXT_*`` (``SIMCLOUD_CONTEXT_UPLOADER``, ``SIMCLOUD_CONTEXT_S3__REGION``), as soon as
one of them is set.

The file is ``$SIMCLOUD_CONFIG``, else ``$XDG_CONFIG_HOME/simcloud/config.yaml``, else
``~/.config/simcloud/config.yaml``. The context in force is ``--context``, else
``$SIMCLOUD_CONTEXT``, else the file's ``current``, else ``local``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from simcloud.errors import InvalidRequest, NotFound
from simcloud.rpc.settings import TlsSettings
from simcloud.s3.client import S3Settings
from simcloud.settings import load_settings
from simcloud.spec.canonical import first_problem

LOCAL = "local"
"""The context that is always there: the embedded stack."""

ENVIRONMENT = "environment"
"""The context that is made of variables."""

ENV_PREFIX = "SIMCLOUD_CONTEXT_"
"""What those variables begin with; ``SIMCLOUD_CONTEXT`` alone names the context in force."""


class Context(BaseModel):
    """Where things are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedded: bool = False
    """Start the services and a real S3 server as processes on this machine; the endpoints and S3
    settings below are then filled in by the running stack."""
    state_dir: str = ".simcloud"
    """Folder of the embedded stack: its data, logs and ports; relative to the working folder."""
    generator: str = ""
    """`host:port` of the generator."""
    uploader: str = ""
    """`host:port` of the uploader as seen from here."""
    uploader_for_generator: str = ""
    """`host:port` of the uploader as seen from the generator; empty: the generator's own
    setting."""
    router: str = ""
    """`host:port` of the inference-router."""
    wait_for_services_s: float = Field(default=0.0, ge=0)
    """Time to keep trying to reach a service that isn't there yet, seconds: where it is started
    beside the command."""
    bucket: str = Field(default="simcloud", min_length=3, max_length=63)
    """Bucket of runs and scenes."""
    prefix: str = Field(default="", pattern=r"^([^/].*[^/]|[^/])?$")
    """Key prefix, without leading or trailing slash."""
    s3: S3Settings = S3Settings()
    """How S3 is reached from here."""
    tls: TlsSettings | None = None
    """Certificates towards the services; unset: plain text."""


class Config(BaseModel):
    """The settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    current: str = LOCAL
    """Context in force when none is named."""
    contexts: dict[str, Context] = Field(default_factory=dict)
    """By name."""

    def named(self, name: str) -> Context:
        """A context; `local` is there even when the file doesn't have it.

        Raises:
            NotFound: there is none of that name.
        """
        found = self.all().get(name)
        if found is None:
            raise NotFound(
                f"there is no context {name!r} in {config_path()}; there are: "
                f"{', '.join(sorted(self.all()))}. Make it with `simcloud context set {name} ...`"
            )
        return found

    def all(self) -> dict[str, Context]:
        """Every context by name."""
        return {LOCAL: Context(embedded=True), **self.contexts, **_from_environment()}


def _from_environment() -> dict[str, Context]:
    if not any(name.startswith(ENV_PREFIX) for name in os.environ):
        return {}
    return {ENVIRONMENT: load_settings(Context, ENV_PREFIX)}


def config_path(environment: Mapping[str, str] | None = None) -> Path:
    """Where the settings file is, whether it exists or not."""
    environment = os.environ if environment is None else environment
    if environment.get("SIMCLOUD_CONFIG"):
        return Path(environment["SIMCLOUD_CONFIG"])
    base = environment.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "simcloud" / "config.yaml"


def load_config(path: Path | None = None) -> Config:
    """Reads the settings file; a missing one is an empty one.

    Raises:
        InvalidRequest: it isn't YAML or breaks a rule; the field is named.
    """
    path = config_path() if path is None else path
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest(str(path), f"can't be read: {error}") from error
    return _validated(content or {}, str(path))


def save_config(config: Config, path: Path | None = None) -> Path:
    """Writes the settings file, readable by this user alone, in one piece."""
    path = config_path() if path is None else path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(
        yaml.safe_dump(_plain(config.model_dump(exclude_defaults=True), reveal=True)),
        encoding="utf-8",
    )
    partial.replace(path)
    return path


def current_name(config: Config, chosen: str | None = None) -> str:
    """The context in force: the option's, else the environment's, else the file's.

    Where variables make a context and nothing names one, it is that: who sets them means it.
    """
    named = chosen or os.environ.get("SIMCLOUD_CONTEXT")
    if named is None and ENVIRONMENT in config.all():
        return ENVIRONMENT
    return named or config.current


def shown(context: Context) -> dict[str, object]:
    """A context as plain data without secrets."""
    result = _plain(context.model_dump(), reveal=False)
    assert isinstance(result, dict)
    return result


def with_assignments(config: Config, name: str, assignments: list[str]) -> Config:
    """The settings with some fields of a context set.

    Args:
        config: the settings.
        name: context; made when there is none.
        assignments: ``field=value``, nested fields with dots (``s3.endpoint_url=http://...``).

    Raises:
        InvalidRequest: not an assignment, an unknown field or a value that a rule refuses.
    """
    content = _plain(config.model_dump(exclude_defaults=True), reveal=True)
    assert isinstance(content, dict)
    contexts = content.setdefault("contexts", {})
    default = {"embedded": True} if name == LOCAL else {}
    entry = contexts.setdefault(name, default)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator or not path:
            raise InvalidRequest(assignment, "is not of the form field=value")
        target = entry
        *parents, leaf = path.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
        # Text as it is: the model makes numbers and booleans of it where it wants them.
        target[leaf] = text
    return _validated(content, f"context {name}")


def _validated(content: object, where: str) -> Config:
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        path, problem = first_problem(error)
        raise InvalidRequest(f"{where}: {path}" if path else where, problem) from error


def _plain(value: object, *, reveal: bool) -> object:
    """Data that YAML and JSON can say; secrets as they are, or as stars."""
    if isinstance(value, SecretStr):
        return value.get_secret_value() if reveal else str(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item, reveal=reveal) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, reveal=reveal) for item in value]
    return value
