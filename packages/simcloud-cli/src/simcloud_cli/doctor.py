"""What a context needs of this machine."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from simcloud.errors import NotReady, SimcloudError, StorageError
from simcloud.gpu import list_gpus
from simcloud.s3.probe import probe, writing_to
from simcloud.s3.requests import PROBE_FOLDER
from simcloud_cli.context import Context
from simcloud_cli.findings import Finding
from simcloud_cli.gpufindings import gpu_findings, isaac_is_asked_for, vulkan_problem
from simcloud_cli.kubernetes.checks import examine_cluster, examine_connection
from simcloud_cli.kubernetes.kubectl import Kubectl
from simcloud_cli.kubernetes.manifests import check_region, read_overlay
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


_S3_CAN = "S3 server can"
_S3_WRITES = "S3 writes"
_CALLS: dict[str, Callable[[Session], Awaitable[object]]] = {
    "generator": lambda session: session.generator.describe(),
    "uploader": lambda session: session.uploader.list_runs(session.context.bucket),
    "router": lambda session: session.router.list_models(),
}
"""One cheap call of each service."""


def examine() -> list[Finding]:
    """Looks at everything; never raises for what is missing."""
    findings, found = _context()
    if found is None:
        return findings
    return findings + (_embedded(found) if found.embedded else _remote(found))


def examine_for_kubernetes(
    overlay: Path | None, *, namespace: str | None, kube_context: str | None
) -> list[Finding]:
    """Looks at what `simcloud run --on kubernetes` needs; never raises for what is missing.

    Args:
        overlay: that of the run; None: cluster and bucket alone are looked at.
        namespace: in place of the overlay's.
        kube_context: of the kubeconfig; None: its current one.
    """
    findings, found = _context()
    if found is None:
        return findings
    if found.embedded:
        detail = (
            "its S3 is this machine's, which no pod reaches: name the cluster's bucket with "
            "`simcloud context set NAME bucket=... s3.region=...`, and use it by --context NAME"
        )
        return [*findings, Finding("bucket", ok=False, detail=detail)]
    findings += asyncio.run(in_session(frozenset(), _try_s3))
    kubectl = Kubectl(context=kube_context)
    return findings + asyncio.run(_cluster(kubectl, found, overlay, namespace))


async def _cluster(
    kubectl: Kubectl, context: Context, folder: Path | None, namespace: str | None
) -> list[Finding]:
    if folder is None:
        detail = "none named: --overlay DIR looks at what its Job needs"
        return [*await examine_connection(kubectl), Finding("overlay", ok=True, detail=detail)]
    try:
        overlay = await read_overlay(kubectl, folder, namespace)
        check_region(overlay, context.s3.region)
    except SimcloudError as error:
        wrong = Finding("overlay", ok=False, detail=error.message)
        return [*await examine_connection(kubectl), wrong]
    good = Finding("overlay", ok=True, detail=f"{folder}: {len(overlay.items)} manifests")
    return [good, *await examine_cluster(kubectl, overlay)]


def _context() -> tuple[list[Finding], Context | None]:
    """What is said of this Python and of the context in force, and that; None without one."""
    findings = [
        Finding("python", sys.version_info >= (3, 11), sys.version.split()[0]),
    ]
    try:
        name, context = current_context()
    except SimcloudError as error:
        return [*findings, Finding("context", ok=False, detail=error.message)], None
    return [*findings, Finding("context", ok=True, detail=name)], context


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
    gpus = list_gpus()
    vulkan = vulkan_problem() if gpus else ""
    findings += gpu_findings(gpus, asked_for=isaac_is_asked_for(), vulkan=vulkan)
    with state_dir(context).share() as running:
        if running is None:
            detail = "not running: what it can do is tried while `simcloud up` runs"
            findings.append(Finding(_S3_WRITES, ok=True, detail=detail))
        else:
            findings += asyncio.run(in_session(frozenset(), _try_s3))
    return findings


async def _try_s3(session: Session) -> list[Finding]:
    """The bucket, what its server can do, and how the uploader would write to it."""
    context = session.context
    try:
        await session.store.check_bucket(context.bucket)
    except SimcloudError as error:
        return [Finding("bucket", ok=False, detail=_bucket_problem(error, session))]
    findings = [Finding("bucket", ok=True, detail=context.bucket)]
    try:
        found = await probe(session.store, context.bucket, context.prefix)
    except SimcloudError as error:
        detail = (
            f"could not be tried: {error.message}; the uploader needs the same requests, below "
            f"{PROBE_FOLDER}/, unless its probe_s3 is off"
        )
        return [*findings, Finding(_S3_CAN, ok=False, detail=detail)]
    can = asdict(found)
    lacks = [name for name, there in can.items() if not there]
    words = f"all {len(can)}" if found.all else f"{len(can) - len(lacks)} of {len(can)}"
    listed = ", ".join(name for name, there in can.items() if there)
    missing = f"; not: {', '.join(lacks)}" if lacks else ""
    writing = writing_to(found)
    told = f"{'' if writing.taken else 'refused: '}{writing.way}"
    return [
        *findings,
        Finding(_S3_CAN, writing.taken, f"{words}: {listed}{missing}", capabilities=can),
        Finding(_S3_WRITES, writing.taken, told + (f"; {writing.mend}" if writing.mend else "")),
    ]


def _remote(context: Context) -> list[Finding]:
    async def _ask(session: Session) -> list[Finding]:
        findings = await _try_s3(session)
        for part, call in _CALLS.items():
            try:
                await call(session)
                findings.append(Finding(part, ok=True, detail=getattr(context, part)))
            except SimcloudError as error:
                findings.append(Finding(part, ok=False, detail=_problem(error, session, part)))
        return findings

    return asyncio.run(in_session(frozenset(), _ask))


def _bucket_problem(error: SimcloudError, session: Session) -> str:
    """What is wrong with the bucket, and what mends it where S3 itself says nothing of that."""
    if isinstance(error, StorageError) and not error.s3_code:
        return (
            f"{error.message}; start that S3 server or mend the way there, or correct it by "
            f"`simcloud context set {session.name} s3.endpoint_url=... s3.region=...`"
        )
    return error.message


def _problem(error: SimcloudError, session: Session, part: str) -> str:
    """What is wrong with a service, and what mends it where nothing answered."""
    if isinstance(error, NotReady):
        return (
            f"can't be reached at {getattr(session.context, part)}: start it, or correct the "
            f"address by `simcloud context set {session.name} {part}=host:port` ({error.message})"
        )
    return error.message
