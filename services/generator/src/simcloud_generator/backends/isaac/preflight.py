"""The test frame: a lit box on a floor, rendered before any work is taken.

What cannot be found out by asking shows here: no RT cores behind an unknown name, a driver that
starts and draws black, annotators that stay empty, labels that do not arrive.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from simcloud.errors import SimcloudError
from simcloud.geometry import look_at
from simcloud.labels.qa import check_view
from simcloud.spec.parameters import CameraView, FrameParameters, PlacedObject, RectLight
from simcloud_generator.backends.base import Backend, RenderedView
from simcloud_generator.backends.isaac.application import watchdog
from simcloud_generator.backends.isaac.settings import IsaacSettings
from simcloud_generator.jobs import Preflight

NAME = "test_frame"

AREA_TOLERANCE = 0.05
"""Share by which the box's mask may differ from its traced silhouette: its edge at 96x72 px."""

MIN_CONTRAST = 2.0
"""Standard deviation of the picture, of 255; a black one has 0. Isaac has no light of its own."""

STAGE = """#usda 1.0
(
    defaultPrim = "World"
    metersPerUnit = 1
    upAxis = "Z"
)

def Xform "World"
{
    def Mesh "Floor"
    {
        int[] faceVertexCounts = [4]
        int[] faceVertexIndices = [0, 1, 2, 3]
        point3f[] points = [(-3, -3, 0), (3, -3, 0), (3, 3, 0), (-3, 3, 0)]
        color3f[] primvars:displayColor = [(0.5, 0.5, 0.5)]
        uniform token subdivisionScheme = "none"
    }
}

def Scope "Library"
{
    class Xform "box" (
        prepend apiSchemas = ["SemanticsLabelsAPI:class"]
    )
    {
        token[] semantics:labels:class = ["box"]

        def Cube "Body"
        {
            color3f[] primvars:displayColor = [(0.8, 0.3, 0.1)]
            double size = 1
            double3 xformOp:translate = (0, 0, 0.5)
            uniform token[] xformOpOrder = ["xformOp:translate"]
        }
    }
}
"""


def try_frame(backend: Backend) -> Preflight:
    """Renders a frame whose labels are known and looks at all of it."""
    with tempfile.TemporaryDirectory(prefix="simcloud-") as folder:
        stage = Path(folder) / "stage.usda"
        stage.write_text(STAGE, encoding="utf-8")
        try:
            session = backend.open(stage)
            try:
                views = session.render(parameters(), ("rgb", "normals"))
            finally:
                session.close()
        except SimcloudError as error:
            return Preflight(name=NAME, ok=False, detail=str(error))
    problem = frame_problem(views[0])
    detail = problem or "a box, rendered: its picture and its labels agree"
    return Preflight(name=NAME, ok=not problem, detail=detail)


def look_for_assets(settings: IsaacSettings) -> Preflight:
    """Whether Isaac's own assets can be reached; only scenes that refer to them need them."""
    from isaacsim.storage.native import get_assets_root_path

    try:
        with watchdog(settings.load_timeout_s):
            root = get_assets_root_path(skip_check=False)
    except RuntimeError as error:  # its way of saying that neither the root nor a mirror answers
        detail = (
            f"Isaac's assets cannot be reached ({error}): scenes that refer to them will lack "
            "them; set isaac.asset_root to a mirror that holds Isaac and NVIDIA"
        )
        return Preflight(name="asset_root", ok=False, detail=detail)
    return Preflight(name="asset_root", ok=True, detail=f"assets at {root}")


def frame_problem(view: RenderedView) -> str:
    """What is wrong with the test frame; empty when nothing is."""
    violations = check_view(view.camera, view.arrays, view.objects, sample_offset_px=1.0)
    if violations:
        return "; ".join(str(item) for item in violations[:3])
    (box,) = view.objects
    if abs(box.visible_px - box.amodal_px) > AREA_TOLERANCE * box.amodal_px:
        return f"the box shows {box.visible_px} px of {box.amodal_px}: were labels applied?"
    contrast = float(view.arrays["rgb"].std())
    if contrast < MIN_CONTRAST:
        return f"the picture is empty, its deviation is {contrast:.2f} of 255"
    return ""


def parameters() -> FrameParameters:
    """The test frame."""
    camera = CameraView(
        name="main",
        width=96,
        height=72,
        cam2world=look_at((2.5, -2.5, 2.0), (0.0, 0.0, 0.4)),
        focal_length_mm=24.0,
        horizontal_aperture_mm=24.0,
    )
    lamp = RectLight(
        name="lamp",
        position_m=(0.5, -1.0, 4.0),
        orientation_wxyz=(1.0, 0.0, 0.0, 0.0),
        width_m=2.0,
        height_m=2.0,
        radiance_rgb=(10.0, 10.0, 10.0),
    )
    turned = (0.9659258, 0.0, 0.0, 0.258819)  # 30 degrees about Z
    return FrameParameters(
        frame=0,
        render_seed=1,
        objects=(PlacedObject("box", "box", (0.0, 0.0, 0.0), turned),),
        rect_lights=(lamp,),
        cameras=(camera,),
    )
