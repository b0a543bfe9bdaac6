"""The variables that our processes and the command know: what a deployment may set."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from simcloud.settings import settings_of
from simcloud_cli.context import ENV_PREFIX, Context
from simcloud_generator.settings import GeneratorSettings
from simcloud_inference_router.settings import RouterSettings
from simcloud_uploader.settings import UploaderSettings

SERVICES: Final[dict[str, type[BaseModel]]] = {
    "generator": GeneratorSettings,
    "uploader": UploaderSettings,
    "inference-router": RouterSettings,
}


def prefix_of(service: str) -> str:
    """What a service's variables begin with."""
    return f"SIMCLOUD_{service.replace('-', '_').upper()}_"


_MODELS: Final[dict[str, type[BaseModel]]] = {
    **{prefix_of(name): model for name, model in SERVICES.items()},
    ENV_PREFIX: Context,
}

VARIABLES: Final[dict[str, frozenset[str]]] = {
    prefix: frozenset(setting.env for setting in settings_of(model, env_prefix=prefix))
    for prefix, model in _MODELS.items()
}
"""By prefix."""

ALL_VARIABLES: Final = frozenset().union(*VARIABLES.values())


def drain_s(service: str) -> float:
    """Seconds for which a service drains, by default."""
    return float(SERVICES[service].model_fields["drain_s"].default)
