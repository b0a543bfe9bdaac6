"""Writes scenes/showroom/backgrounds/*.jpg and composite.usda: the empty room from several places.

    python scenes/showroom/build_backgrounds.py

Each picture is a frame of the showroom's own spec without objects, by the full renderer. The stage
composite.usda is the showroom with these pictures below /Backgrounds; composite.yaml uses it. The
same files give the same parameters; pixels depend on the renderer's version.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import yaml
from pxr import Sdf, Usd, UsdGeom

from simcloud.scene.catalog import read_catalog
from simcloud.scene.stage import PICTURE_ATTRIBUTE
from simcloud.spec.model import Spec
from simcloud.spec.sample import sample
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings

HERE = Path(__file__).resolve().parent
FRAMES = (0, 1, 2, 3, 5, 8, 9, 11)
"""Chosen for different floors, walls and light."""

SIZE = (800, 600)
JPEG_QUALITY = 88


def empty_room() -> Spec:
    """The showroom's spec without objects, seen a little wider."""
    raw = yaml.safe_load((HERE / "spec.yaml").read_text())
    raw["randomization"]["objects"] = []
    raw["annotators"] = ["rgb"]
    raw["cameras"][0] |= {
        "width_px": SIZE[0],
        "height_px": SIZE[1],
        "horizontal_fov_deg": {"uniform": [58, 68]},
    }
    return Spec.model_validate(raw)


def render(folder: Path) -> list[Path]:
    """Renders every picture; returns their files."""
    spec, catalog = empty_room(), read_catalog(HERE / "stage.usda")
    session = MitsubaBackend(MitsubaSettings(spp=32, aux_spp=16)).open(HERE / "stage.usda")
    folder.mkdir(exist_ok=True)
    written = []
    for number, frame in enumerate(FRAMES):
        (view,) = session.render(sample(spec, catalog, frame), spec.annotators)
        path = folder / f"room_{number}.jpg"
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        cv2.imwrite(str(path), view.arrays["rgb"][:, :, ::-1], options)
        written.append(path)
    session.close()
    return written


def stage(pictures: list[Path]) -> None:
    """Writes composite.usda: the showroom's stage below, the pictures as class prims."""
    target = HERE / "composite.usda"
    target.unlink(missing_ok=True)
    made = Usd.Stage.CreateNew(str(target))
    made.GetRootLayer().subLayerPaths.append("stage.usda")
    UsdGeom.SetStageUpAxis(made, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(made, 1.0)
    made.SetDefaultPrim(made.GetPrimAtPath("/World"))
    made.SetMetadata("comment", "Written by scenes/showroom/build_backgrounds.py; do not edit.")
    UsdGeom.Scope.Define(made, "/Backgrounds")
    for path in pictures:
        prim = made.CreateClassPrim(f"/Backgrounds/{path.stem}")
        attribute = prim.CreateAttribute(PICTURE_ATTRIBUTE, Sdf.ValueTypeNames.Asset)
        attribute.Set(Sdf.AssetPath(f"backgrounds/{path.name}"))
    made.Save()


def main() -> None:
    pictures = render(HERE / "backgrounds")
    stage(pictures)
    size = sum(path.stat().st_size for path in pictures)
    print(f"{len(pictures)} pictures, {size / 1e3:.0f} kB; composite.usda")


if __name__ == "__main__":
    main()
