"""Isaac Sim's application: one a process, first of all, on the main thread.

Importing this module changes nothing; :func:`start` does. After it the process belongs to Kit:
only the main thread may drive it, and ``close`` ends the process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.metadata
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simcloud.errors import Bug, InvalidRequest, PreconditionFailed, Violation
from simcloud_generator.backends.isaac.settings import IsaacSettings
from simcloud_generator.backends.isaac.signatures import installed_mismatches

if TYPE_CHECKING:
    from isaacsim import SimulationApp

NEEDED_VARIABLES = ("EXP_PATH", "CARB_APP_PATH", "ISAAC_PATH")
"""Set by Isaac's ``python.sh``; SimulationApp cannot find its files without them."""

CONSENT_VARIABLES = ("ACCEPT_EULA", "OMNI_KIT_ACCEPT_EULA")
"""NVIDIA's entry point asks for the first, its pip packages for the second. Our entry point
replaces NVIDIA's, so that consent would go unasked if nobody looked here."""


class Application:
    """A started application.

    Args:
        app: the SimulationApp.
        settings: as it was started.
        version: of Isaac Sim.
    """

    def __init__(self, app: SimulationApp, settings: IsaacSettings, version: str) -> None:
        self._app = app
        self.settings = settings
        self.version = version
        self.stopping = False
        """Whether SIGTERM has come: finish the frame, take no more."""

    def update(self) -> None:
        """One turn of Kit's loop."""
        self._app.update()

    def set_setting(self, name: str, value: bool | float | str) -> None:
        """Sets a Kit setting."""
        self._app.set_setting(name, value)

    def open_stage(self, path: Path) -> Any:
        """Opens a stage in place of the one before; returns when everything is loaded.

        Raises:
            InvalidRequest: it cannot be opened.
        """
        from isaacsim.core.experimental.utils import stage as stages

        with watchdog(self.settings.load_timeout_s):
            # A missing file is told by the flag, not by an exception.
            opened, stage = stages.open_stage(str(path))
            if not opened or stage is None:
                raise InvalidRequest("scene", f"Isaac Sim cannot open {path}; its log says why")
            self._wait_until_loaded()
            self.apply_render_settings()
            for _ in range(self.settings.settle_updates):
                self.update()
        return stage

    def apply_render_settings(self) -> None:
        """Writes the render settings again: a stage that is opened may bring its own."""
        self._app.reset_render_settings()
        self.set_setting("/rtx/post/dlss/execMode", self.settings.dlss_mode)

    def wait_until_loaded(self) -> None:
        """Returns when what the frame has added is loaded: textures and referenced files."""
        with watchdog(self.settings.load_timeout_s):
            self._wait_until_loaded()

    def _wait_until_loaded(self) -> None:
        from isaacsim.core.experimental.utils.stage import is_stage_loading

        while True:  # the watchdog ends it
            self.update()
            if not is_stage_loading():
                return

    def close_stage(self) -> None:
        """Closes the open stage, which gives most of its memory back."""
        from isaacsim.core.experimental.utils import stage as stages

        with watchdog(self.settings.load_timeout_s):
            stages.close_stage()
            self.update()

    def close(self, exit_code: int = 0) -> None:
        """Ends Kit, and with it the process: nothing after this call is run."""
        self._app.close(wait_for_replicator=False, exit_code=exit_code)


def start(settings: IsaacSettings, gpu: int) -> Application:
    """Starts Isaac Sim in this process.

    Args:
        settings: how.
        gpu: index of the GPU that renders.

    Raises:
        PreconditionFailed: this process cannot become one, or what is installed is unknown.
        Bug: this is not the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise Bug("Isaac Sim can only be started and driven on a process's main thread")
    check_environment()
    version = check_version(settings)
    if settings.asset_root:
        os.environ["ISAACSIM_ASSET_ROOT"] = settings.asset_root
    # All of the command line goes to Kit: `--port` would be an option of its own, and `--help`
    # would end it. A spawned process has its parent's.
    del sys.argv[1:]
    with watchdog(settings.start_timeout_s):
        from isaacsim import SimulationApp

        app = SimulationApp(launch_config(settings, gpu), settings.experience)
        # It takes SIGINT and leaves SIGTERM alone, whose default would end a frame half-way.
        result = Application(app, settings, version)
        _take_signals(result)
        check_signatures(version)
        _prepare_replicator(result)
    return result


def launch_config(settings: IsaacSettings, gpu: int) -> dict[str, Any]:
    """What SimulationApp is started with."""
    extra = [] if settings.texture_streaming else [_NO_TEXTURE_STREAMING]
    return {
        "headless": True,
        "hide_ui": True,
        "renderer": settings.renderer,
        "active_gpu": gpu,
        "physics_gpu": gpu,
        "multi_gpu": False,
        "max_gpu_count": 1,
        "sync_loads": True,
        "disable_viewport_updates": True,  # nobody looks at it: 3 to 4 ms of GPU a frame
        "create_new_stage": True,
        "max_bounces": settings.max_bounces,
        "limit_cpu_threads": settings.cpu_threads,
        "extra_args": extra,
    }


_NO_TEXTURE_STREAMING = "--/rtx-transient/resourcemanager/enableTextureStreaming=false"


def check_environment() -> None:
    """What has to be set before Isaac Sim starts.

    Raises:
        PreconditionFailed: naming every variable that is missing.
    """
    violations = [
        Violation(
            kind="VARIABLE_MISSING",
            subject=name,
            description="start the generator with Isaac's python.sh, or with what it exports",
        )
        for name in NEEDED_VARIABLES
        if not os.environ.get(name)
    ]
    if not any(os.environ.get(name) for name in CONSENT_VARIABLES):
        violations.append(
            Violation(
                kind="LICENCE_NOT_ACCEPTED",
                subject=CONSENT_VARIABLES[0],
                description="read NVIDIA's licence of Isaac Sim; set it to Y to accept",
            )
        )
    if violations:
        names = ", ".join(item.subject for item in violations)
        raise PreconditionFailed(
            f"Isaac Sim cannot start in this environment: set {names}",
            violations=tuple(violations),
        )


def installed_version() -> str:
    """Version of Isaac Sim: of its package, or of its folder; empty where neither says."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("isaacsim")
    file = Path(os.environ.get("ISAAC_PATH", "")) / "VERSION"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def check_version(settings: IsaacSettings) -> str:
    """The version, which must be one that this backend was written for.

    Raises:
        PreconditionFailed: it is another one, or unknown.
    """
    version = settings.version or installed_version()
    if ".".join(version.split(".")[:2]) not in settings.versions:
        raise PreconditionFailed(
            f"Isaac Sim {version or 'of unknown version'} is installed, and this backend knows "
            f"{', '.join(settings.versions)}: use one of them, or, once the smoke check passes "
            "with it, add it to the setting isaac.versions",
            version=version,
        )
    return version


def check_signatures(version: str) -> None:
    """Compares what is installed with the recorded API.

    Raises:
        PreconditionFailed: listing everything that differs.
    """
    found = installed_mismatches()
    if found:
        raise PreconditionFailed(
            f"Isaac Sim {version} differs from the recorded API in {len(found)} places: "
            f"{'; '.join(found)}",
            violations=tuple(
                Violation(
                    kind="SIGNATURE_DIFFERS",
                    subject=item.partition(":")[0],
                    description=item.partition(": ")[2],
                )
                for item in found
            ),
        )


@contextlib.contextmanager
def watchdog(seconds: float) -> Iterator[None]:
    """Ends the process, with the stacks of all threads on its standard error, unless left in time.

    By faulthandler's own thread, which needs no GIL: native code that hangs may hold it, and a
    thread of Python's would hang with it. The pool sees the pipe close and starts another process.
    Blocks must not be nested: there is one alarm a process.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _take_signals(application: Application) -> None:
    def stop(number: int, frame: object) -> None:
        del number, frame
        application.stopping = True

    signal.signal(signal.SIGTERM, stop)
    # Ctrl-C reaches the whole foreground group; the service drains and closes the pipes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _prepare_replicator(application: Application) -> None:
    import omni.replicator.core as rep

    # Replicator's own wait for assets ends with a warning after 30 s, and captures what is there.
    application.set_setting(
        "/exts/omni.replicator.core/maxAssetLoadingTime", application.settings.load_timeout_s
    )
    # Isaac's base application captures whenever the timeline plays; frames are stepped by hand.
    rep.orchestrator.set_capture_on_play(False)
    application.apply_render_settings()
