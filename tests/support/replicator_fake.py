"""A stand-in for Isaac Sim with Replicator's habits, behind the recorded API alone.

It behaves as the sources say the real one does where that has bitten people: it needs warm-up
captures, returns the frame before while stopping, captures nothing without annotators, loads for
some updates after every change, hands out buffers that the next capture overwrites. Faults are
asked for by the environment, so that they also happen in a worker process.
"""

from __future__ import annotations

import builtins
import inspect
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simcloud_generator.backends.isaac.signatures import Class, recorded
from support.recorded_api import install, make_class, make_function, wrapped
from support.replicator_scene import raw_data, see

CORE = "omni.replicator.core"
FAULTS = "SIMCLOUD_TEST_ISAAC_FAULTS"
"""Environment variable: faults of this stand-in, by commas.

``hang=<file>``: a capture never ends; once, since the file is made. ``stopping=<n>``: the first n
captures find the orchestrator stopping. ``ignore=<n>``: the n-th capture schedules no frame.
``frozen``: from the second stage on, only its first frame is captured. ``none=<annotator>``: it
gives no data. ``signature``: ``step`` has another parameter. ``dark``: pictures are black.
``unlabelled``: labels do not arrive. ``offline``: there are no assets.
"""

WARM_UP = 2
"""Captures until a render product holds data."""

LOADING_UPDATES = 3


class Kit:
    """The state of one application."""

    def __init__(self, launch_config: dict[str, Any] | None, experience: str) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.config = dict(launch_config or {})
        self.experience = experience
        self.faults = dict(
            item.partition("=")[::2] for item in os.environ.get(FAULTS, "").split(",") if item
        )
        self.settings: dict[str, Any] = {}
        self.stage: Any = None
        self.loading = 0
        self.updates = 0
        self.steps = 0
        self.made = 0
        self.stages_opened = 0
        self.step_arguments: list[dict[str, Any]] = []
        self.loading_waits: list[int] = []
        self.products: dict[str, Product] = {}
        self.capture_on_play = True
        self.closed = False
        self.status = Status.STOPPED
        # as SimulationApp does: the orchestrator's synchronous calls ask for it
        builtins.ISAAC_LAUNCHED_FROM_TERMINAL = False  # type: ignore[attr-defined]

    # --- SimulationApp ---
    def update(self) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.updates += 1
        self.loading = max(0, self.loading - 1)
        stopping = int(self.faults.get("stopping") or 0)
        if self.status is Status.STOPPING and self.updates % 4 == 0 and stopping >= 0:
            self.status = Status.STOPPED

    def set_setting(self, setting: str, value: Any) -> None:
        self.settings[setting] = value

    def reset_render_settings(self) -> None:
        self.settings = {
            key: value for key, value in self.settings.items() if not key.startswith("/rtx")
        }

    def close(self, wait_for_replicator: bool, skip_cleanup: bool, exit_code: int) -> None:
        self.closed = True
        marker = os.environ.get("SIMCLOUD_TEST_ISAAC_CLOSED")
        if marker:
            Path(marker).write_text(str(os.getpid()))
            os._exit(exit_code)  # fast shutdown: nothing after close() runs

    def is_running(self) -> bool:
        return not self.closed

    # --- stages ---
    def open_stage(self, usd_path: str) -> tuple[bool, Any]:
        from pxr import Usd

        assert not self.products, "render products must not outlive their stage"
        if not Path(usd_path).is_file():
            return False, None
        self.stage = Usd.Stage.Open(usd_path)
        self.stages_opened += 1
        self.loading = LOADING_UPDATES
        return True, self.stage

    def close_stage(self) -> bool:
        self.stage = None
        return True

    def is_stage_loading(self) -> bool:
        self.loading_waits.append(self.loading)
        return self.loading > 0

    def get_current_stage(self, backend: str | None) -> Any:
        return self.stage

    def assets(self, skip_check: bool) -> str:
        if "offline" in self.faults and not skip_check:
            raise RuntimeError("Could not find assets root folder")
        return "https://assets.test/Assets/Isaac/6.0"

    # --- orchestrator ---
    def get_status(self) -> Any:
        return self.status

    def set_capture_on_play(self, value: bool) -> None:
        self.capture_on_play = value

    def wait_until_complete(self) -> None:
        self.status = Status.STOPPED

    def stop(self) -> None:
        self.status = Status.STOPPING

    def step(self, **arguments: Any) -> None:
        assert getattr(builtins, "ISAAC_LAUNCHED_FROM_TERMINAL") is False  # noqa: B009
        assert not self.capture_on_play, "a timeline would capture by itself"
        assert self.loading == 0, "a capture while assets are loading shows half of them"
        self.steps += 1
        self.step_arguments.append(arguments)
        self._hang()
        if self.status is Status.STOPPING:
            return  # a warning in the log, and no capture
        if arguments["delta_time"] is None:
            raise TypeError("'>' not supported between instances of 'NoneType' and 'float'")
        if int(self.faults.get("ignore") or 0) == self.steps:
            return  # an error in the log: no frame was scheduled
        frozen = "frozen" in self.faults and self.stages_opened > 1
        for product in self.products.values():
            done = frozen and product.captures >= WARM_UP
            if product.updating and product.annotators and not done:
                product.capture(self)
        self.status = Status.STEPPED
        if self.steps <= int(self.faults.get("stopping") or 0):
            self.status = Status.STOPPING

    def _hang(self) -> None:
        marker = self.faults.get("hang")
        if marker and self.stages_opened > 1 and not Path(marker).exists():
            Path(marker).touch()
            threading.Event().wait()

    # --- render products and annotators ---
    def render_product(self, camera: str, resolution: tuple[int, int], name: str) -> Any:
        assert self.stage.GetPrimAtPath(camera), f"there is no camera {camera}"
        self.made += 1
        product = Product(self, f"/Render/Replicator_{self.made}", camera, resolution)
        self.products[product.path] = product
        return wrapped(HYDRA_TEXTURE, product)


class Product:
    """A render product: a camera, a size, and what was captured last."""

    def __init__(self, kit: Kit, path: str, camera: str, size: tuple[int, int]) -> None:
        self._kit = kit
        self.path = path
        self.camera = camera
        self.size = size
        self.updating = True
        self.captures = 0
        self.annotators: dict[str, AnnotatorNode] = {}
        self.data: dict[str, Any] = {}
        self.hydra_texture = wrapped(HYDRA_HANDLE, self)

    def set_updates_enabled(self, enabled: bool) -> None:
        self.updating = enabled

    def destroy(self) -> None:
        assert not self.annotators, "detach annotators before their render product goes"
        del self._kit.products[self.path]

    def capture(self, kit: Kit) -> None:
        self.captures += 1
        if self.captures < WARM_UP:
            return
        seen = see(kit.stage, self.camera, self.size, kit.steps)
        for name in self.annotators:
            if kit.faults.get("none") == name:
                self.data[name] = None
                continue
            fresh = raw_data(seen, name)
            if name == "rgb" and "dark" in kit.faults:
                fresh[..., :3] = 0
            if name == "instance_segmentation_fast" and "unlabelled" in kit.faults:
                fresh["data"] = np.minimum(fresh["data"], 1)
            self._overwrite(name, fresh)

    def _overwrite(self, name: str, fresh: Any) -> None:
        """A renderer's buffer is written again by the next capture: views of it change."""
        old = self.data.get(name)
        if isinstance(old, np.ndarray) and isinstance(fresh, np.ndarray):
            old[...] = fresh
        else:
            self.data[name] = fresh


class AnnotatorNode:
    """An annotator, attached to one render product."""

    def __init__(self, kit: Kit, name: str, init_params: dict[str, Any], copies: bool) -> None:
        if "segmentation" in name:
            assert init_params.get("colorize") is False, f"{name} gives colours in place of ids"
        elif not name.startswith("bounding_box"):
            assert not init_params, f"{name} would change the global semantic filter"
        self._kit = kit
        self.name = name
        self._copies = copies
        self._product: Product | None = None

    def attach(self, render_products: Any, render_product_idxs: Any) -> Any:
        assert isinstance(render_products, str), "attaching a product enables its updates"
        self._product = self._kit.products[render_products]
        assert self.name not in self._product.annotators, "one owner for an annotator's parameters"
        self._product.annotators[self.name] = self
        return wrapped(ANNOTATOR, self)

    def detach(self, render_products: Any) -> None:
        assert render_products is None, "products in a list are not turned into paths"
        assert self._product is not None
        del self._product.annotators[self.name]
        self._product = None

    def get_data(self, device: Any, do_array_copy: bool, use_legacy_structure: bool) -> Any:
        if self._product is None:
            raise RuntimeError(f"annotator {self.name} is not attached")
        value = self._product.data.get(self.name, np.zeros(0))
        if isinstance(value, np.ndarray):
            found = value.copy() if do_array_copy or self._copies else value
            return found if use_legacy_structure else {"data": found}
        if value is None or not use_legacy_structure or "data" not in value:
            return value
        rest = {key: item for key, item in value.items() if key != "data"}
        return {"data": value["data"], "info": rest}


Status: Any = make_class(f"{CORE}.orchestrator", "Status")
HYDRA_TEXTURE = make_class(CORE, "_HydraTexture")
HYDRA_HANDLE = make_class(CORE, "_HydraHandle")
ANNOTATOR = make_class(CORE, "_Annotator")
_APPLICATION = make_class("isaacsim", "SimulationApp")

running: list[Kit] = []
"""The applications of this process, the newest last."""


def _start(launch_config: dict[str, Any] | None, experience: str) -> Kit:
    kit = Kit(launch_config, experience)
    running.append(kit)
    _install(kit)
    return kit


def _init(record: Class) -> Callable[..., None]:
    begin = make_function(record.methods["__init__"], "isaacsim.SimulationApp", _start)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        object.__setattr__(self, "_answers", begin(*args, **kwargs))

    signature = record.methods["__init__"].signature()
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[own, *signature.parameters.values()]
    )
    return __init__


_record = recorded()["isaacsim"]["SimulationApp"]
assert isinstance(_record, Class)
SimulationApp: Any = type("SimulationApp", (_APPLICATION,), {"__init__": _init(_record)})


def _registry(kit: Kit) -> Any:
    record = recorded()[CORE]["AnnotatorRegistry"]
    assert isinstance(record, Class)

    def get_annotator(
        name: str, init_params: Any, render_product_idxs: Any, device: Any, do_array_copy: bool
    ) -> Any:
        if device not in (None, "cpu") and name.startswith("bounding_box"):
            raise RuntimeError(f"{name} cannot be had on {device}")
        return wrapped(ANNOTATOR, AnnotatorNode(kit, name, init_params or {}, do_array_copy))

    behaviours: dict[str, Callable[..., Any]] = {
        "get_annotator": get_annotator,
        "get_registered_annotators": lambda: ["rgb"],
    }
    content = {
        name: staticmethod(make_function(record.methods[name], f"{CORE}.{name}", behaviour))
        for name, behaviour in behaviours.items()
    }
    return type("AnnotatorRegistry", (), content)


def _install(kit: Kit) -> None:
    stage = "isaacsim.core.experimental.utils.stage"
    orchestrator = f"{CORE}.orchestrator"
    behaviours: dict[str, Any] = {
        f"{orchestrator}.Status": Status,
        f"{CORE}.AnnotatorRegistry": _registry(kit),
        f"{CORE}.create.render_product": kit.render_product,
        f"{CORE}.set_global_seed": lambda seed: None,
        "isaacsim.storage.native.get_assets_root_path": kit.assets,
    }
    for name in ("step", "stop", "wait_until_complete", "set_capture_on_play", "get_status"):
        behaviours[f"{orchestrator}.{name}"] = getattr(kit, name)
    for name in ("open_stage", "close_stage", "is_stage_loading", "get_current_stage"):
        behaviours[f"{stage}.{name}"] = getattr(kit, name)
    install(behaviours)
    if "signature" in kit.faults:

        def step(rt_subframes: int = -1, pause_timeline: bool = False) -> None:
            raise AssertionError("an unknown version is never stepped")

        vars(sys.modules[orchestrator])["step"] = step
