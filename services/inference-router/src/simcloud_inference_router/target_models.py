"""Which models of a multi-model endpoint a caller may choose; pure."""

from __future__ import annotations

import re
from functools import lru_cache

from simcloud.errors import InvalidRequest
from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.request_parameters import TARGET_MODEL


def check_target_model(model: ModelEntry, chosen: str) -> None:
    """Checks a choice against the catalogue; all targets of the model must take it.

    Raises:
        InvalidRequest: the catalogue does not allow it.
    """
    for target in model.targets:
        if not any(_pattern(allowed).fullmatch(chosen) for allowed in target.target_models):
            allowed = ", ".join(target.target_models) or "none"
            problem = (
                f"target {target.name} of model {model.name} has no such model for callers; the "
                f"catalogue allows: {allowed}"
            )
            raise InvalidRequest(f"parameters[{TARGET_MODEL}]", problem)


@lru_cache(maxsize=1024)
def _pattern(allowed: str) -> re.Pattern[str]:
    # Not fnmatch: its star passes slashes, and so out of a prefix.
    parts = (re.escape(part) for part in allowed.split("*"))
    # `..` would leave the prefix too.
    return re.compile(r"(?!.*\.\.)" + "[^/]*".join(parts))
