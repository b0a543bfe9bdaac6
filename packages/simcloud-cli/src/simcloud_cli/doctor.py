"""What a context needs of this machine."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec

from simcloud.errors import SimcloudError
from simcloud_cli.context import Context
from simcloud_cli.session import Session, current_context, in_session, state_dir
from simcloud_cli.statedir import MIN_FREE_BYTES

_PACKAGES = {
    "simcloud_generator": "services/generator",
    "simcloud_uploader": "services/uploader",
    "simcloud_inference_router": "services/inference-router",
    "simcloud_model_container": "model-container",
    "mitsuba": "mitsuba",
    "embreex": "embreex",
    "pxr": "usd-core",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


_CALLS: dict[str, Callable[[Session], Awaitable[object]]] = {
    "generator": lambda session: session.generator.describe(),
    "uploader": lambda session: session.uploader.list_runs(session.context.bucket),
    "router": lambda session: session.router.list_models(),
}
"""One cheap call of each service."""


def examine() -> list[Finding]:
    """Looks at everything; never raises for what is missing."""
    findings = [
        Finding("python", sys.version_info >= (3, 11), sys.version.split()[0]),
    ]
    try:
        name, context = current_context()
    except SimcloudError as error:
        return [*findings, Finding("context", ok=False, detail=error.message)]
    findings.append(Finding("context", ok=True, detail=name))
    return findings + (_embedded(context) if context.embedded else _remote(context))


def _embedded(context: Context) -> list[Finding]:
    from simcloud_cli.seaweed import weed_binary

    findings = []
    for module, package in _PACKAGES.items():
        found = find_spec(module) is not None
        detail = "installed" if found else f"missing: install {package} into {sys.prefix}"
        findings.append(Finding(module, found, detail))
    try:
        findings.append(Finding("S3 server", ok=True, detail=weed_binary()))
    except SimcloudError as error:
        findings.append(Finding("S3 server", ok=False, detail=error.message))
    folder = state_dir(context).path
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    findings.append(
        Finding("disk", free >= MIN_FREE_BYTES, f"{free / 2**30:.1f} GiB free at {folder}")
    )
    return findings


def _remote(context: Context) -> list[Finding]:
    async def _ask(session: Session) -> list[Finding]:
        findings = []
        try:
            await session.store.check_bucket(context.bucket)
            findings.append(Finding("bucket", ok=True, detail=context.bucket))
        except SimcloudError as error:
            findings.append(Finding("bucket", ok=False, detail=error.message))
        for part, call in _CALLS.items():
            try:
                await call(session)
                findings.append(Finding(part, ok=True, detail=getattr(context, part)))
            except SimcloudError as error:
                findings.append(Finding(part, ok=False, detail=error.message))
        return findings

    return asyncio.run(in_session(frozenset(), _ask))
