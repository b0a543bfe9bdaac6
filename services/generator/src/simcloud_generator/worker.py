"""A worker process: renders one frame at a time, and everything up to encoded layers with it.

Spawned, never forked: the parent holds gRPC's threads. Only encoded layers cross the border. A
worker ends when its pipe closes, so it never outlives the service.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from simcloud.dataset.record import Quarantine
from simcloud.errors import Bug, InvalidRequest, SimcloudError
from simcloud.scene.catalog import Catalog, read_catalog
from simcloud.spec.canonical import digest, parse
from simcloud.spec.check import check_against_scene
from simcloud.spec.model import Spec
from simcloud.spec.origins import origins_named
from simcloud.spec.plugins import check_plugins
from simcloud.spec.sample import sample
from simcloud_generator.backends.base import Session
from simcloud_generator.frame import FrameMaker, Stopwatch
from simcloud_generator.jobs import (
    FrameResult,
    InspectJob,
    Job,
    RenderJob,
    Reply,
    SceneReport,
    WorkerConfiguration,
)
from simcloud_generator.renderers import Renderers, open_renderers, resolved_digest
from simcloud_generator.settling.settler import Settler, drops_something
from simcloud_generator.settling.simulation import SettlingFailed

_STOP_CHECK_S = 0.5
"""How often a worker without a job looks whether it was told to stop."""


def run_worker(connection: Connection, configuration: WorkerConfiguration) -> None:
    """Body of a worker process.

    Args:
        connection: the worker's end of its pipe; answers an identity, then a reply a job.
        configuration: fixed for the worker's life.
    """
    # Ctrl-C reaches the whole foreground group; the service drains and closes the pipes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        worker = _Worker(open_renderers(configuration))
        connection.send(worker.renderers.identity())
    except Exception as error:
        connection.send(_portable(error))
        return
    # Here too the main thread is the renderer's: Isaac Sim runs on no other.
    while not worker.renderers.stopping:
        if not connection.poll(_STOP_CHECK_S):
            continue
        try:
            job: Job = connection.recv()
        except (EOFError, ConnectionResetError):
            break
        try:
            reply: Reply = worker.answer(job)
        except SystemExit as error:  # the renderer gives itself up; its clean end may hang
            sys.stderr.write(f"renderer process {os.getpid()} ends: {error}\n")
            sys.stderr.flush()
            os._exit(1)  # the pipe closes with it, and the pool starts another one
        except Exception as error:
            reply = _portable(error)
        try:
            connection.send(reply)
        except (BrokenPipeError, ConnectionResetError):
            break
    worker.renderers.close()


def _portable(error: Exception) -> SimcloudError:
    """An error that survives the pipe; what isn't ours keeps its traceback as text."""
    if isinstance(error, SimcloudError):
        return error
    return Bug(f"the renderer failed: {error!r}", traceback="".join(traceback.format_exc())[-2000:])


@dataclass(slots=True)
class _OpenScene:
    """The scene and spec that the last job was about."""

    spec: Spec
    spec_digest: str
    catalog: Catalog
    session: Session
    maker: FrameMaker
    settler: Settler | None
    """None where nothing drops."""


class _Worker:
    """Keeps one scene open: jobs of one run come in a row."""

    def __init__(self, renderers: Renderers) -> None:
        self.renderers = renderers
        self._key: tuple[Path, str] = (Path(), "")
        """Stage and resolved digest of the scene that is open."""
        self._scene: _OpenScene | None = None
        self._known: tuple[Path, Catalog] | None = None

    def answer(self, job: Job) -> Reply:
        """Does a job."""
        match job:
            case RenderJob():
                return self._render(job)
            case InspectJob():
                return self._inspect(job)

    def _render(self, job: RenderJob) -> FrameResult:
        cpu_before = time.process_time()
        kernels_before = self.renderers.kernels()
        watch = Stopwatch()
        with watch.stage("build"):
            scene = self._open(job.stage, job.spec_json)
        with watch.stage("sample"):
            parameters = sample(scene.spec, scene.catalog, job.frame)
        reason = Quarantine(rule="render", detail=job.quarantine) if job.quarantine else None
        if reason is None and scene.settler is not None:
            with watch.stage("settle"):
                try:
                    with origins_named(parameters):
                        parameters = scene.settler.settle(parameters)
                except SettlingFailed as error:
                    reason = Quarantine(rule="settling", detail=str(error))
        if reason is not None:
            views = scene.maker.quarantined(parameters, job.split, reason)
        else:
            with origins_named(parameters):
                views, reason = scene.maker.make(parameters, job.split, watch)
        return FrameResult(
            frame=job.frame,
            views=views,
            timings_s=watch.seconds,
            cpu_s=time.process_time() - cpu_before,
            quarantine=reason.detail if reason else "",
            quarantine_rule=reason.rule if reason else "",
            rss_bytes=_resident_bytes(),
            kernels=self.renderers.kernels().since(kernels_before),
        )

    def _inspect(self, job: InspectJob) -> SceneReport:
        try:
            spec = parse(Spec, job.spec_json, field="spec")
            catalog = self._catalog(job.stage)
            problems = [*check_plugins(spec), *check_against_scene(spec, catalog)]
            warnings: tuple[str, ...] = ()
            if not problems:
                scene = self._open(job.stage, job.spec_json)
                sample(scene.spec, catalog, 0)
                warnings = tuple(scene.session.unsupported)
        except InvalidRequest as error:
            return SceneReport(problems=((error.field, error.problem),), warnings=())
        return SceneReport(problems=tuple(problems), warnings=warnings)

    def _open(self, stage: Path, spec_json: bytes) -> _OpenScene:
        spec_digest = digest(spec_json)
        known = self._scene
        if known is not None and (self._key[0], known.spec_digest) == (stage, spec_digest):
            return known
        spec = parse(Spec, spec_json, field="spec")
        identity = self.renderers.identity()
        key = (stage, resolved_digest(spec, identity))
        if known is None or key != self._key:
            self._scene = None
            if known is not None:
                known.session.close()
            session = self.renderers.open(spec.renderer, stage)
            settler = Settler(stage) if drops_something(spec) else None
        else:  # as it was validated, before `auto` was filled in
            session, settler = known.session, known.settler
        maker = FrameMaker(
            spec=spec,
            spec_digest=spec_digest,
            fingerprint=identity.fingerprint,
            session=session,
            stochastic=identity.stochastic,
        )
        self._key = key
        self._scene = _OpenScene(
            spec=spec,
            spec_digest=spec_digest,
            catalog=self._catalog(stage),
            session=session,
            maker=maker,
            settler=settler,
        )
        return self._scene

    def _catalog(self, stage: Path) -> Catalog:
        """A stage's catalog, read once: specs of the same scene come in a row, too."""
        if self._known is None or self._known[0] != stage:
            self._known = (stage, read_catalog(stage))
        return self._known[1]


def _resident_bytes() -> int:
    """Resident memory now, from Linux's statm: the second field counts pages."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
