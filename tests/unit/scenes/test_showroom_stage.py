"""The showroom stage keeps the contract of scenes/README.md."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pxr import Sdf, Usd, UsdGeom, UsdLux, UsdSemantics, UsdShade, UsdUtils

SCENES = Path(__file__).resolve().parents[3] / "scenes"
STAGE = SCENES / "showroom" / "stage.usda"
COCO_CLASSES = {"bed", "chair", "couch", "potted plant", "teddy bear", "tv"}


@pytest.fixture(scope="module")
def stage() -> Any:
    return Usd.Stage.Open(str(STAGE))


def labels_of(prim: Any) -> list[str]:
    return list(UsdSemantics.LabelsAPI(prim, "class").GetLabelsAttr().Get())


def bounds_of(prim: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    cache = UsdGeom.BBoxCache(Usd.TimeCode.Default(), [UsdGeom.Tokens.default_])
    box = cache.ComputeWorldBound(prim).ComputeAlignedRange()
    return tuple(box.GetMin()), tuple(box.GetMax())


def test_stage_is_z_up_in_metres_with_world_as_its_default_prim(stage: Any) -> None:
    assert UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert stage.GetDefaultPrim().GetPath() == "/World"


def test_every_layer_and_picture_the_stage_names_exists_in_the_repository(stage: Any) -> None:
    layers, pictures, unresolved = UsdUtils.ComputeAllDependencies(str(STAGE))

    assert not unresolved
    assert len(layers) == 1 + len(list(SCENES.glob("assets/*/*.usdc")))
    for path in [*(layer.realPath for layer in layers), *pictures]:
        assert Path(path).resolve().is_relative_to(SCENES)


def test_no_layer_names_an_absolute_path() -> None:
    layers, _, _ = UsdUtils.ComputeAllDependencies(str(STAGE))
    named: list[str] = []

    def keep(path: str) -> str:
        named.append(path)
        return path

    for layer in layers:
        UsdUtils.ModifyAssetPaths(layer, keep)

    assert named
    assert [path for path in named if not path.startswith(("./", "../"))] == []


def test_room_has_its_documented_bounds(stage: Any) -> None:
    low, high = bounds_of(stage.GetPrimAtPath("/World/Room"))

    assert low == pytest.approx((-3.3, -6.0, 0.0))
    assert high == pytest.approx((3.3, 2.4, 3.4))


@pytest.mark.parametrize(
    ("name", "inward"),
    [
        ("Floor", (0, 0, 1)),
        ("BackWall", (0, -1, 0)),
        ("LeftWall", (1, 0, 0)),
        ("RightWall", (-1, 0, 0)),
    ],
)
def test_room_surfaces_face_inward_and_map_metres(
    stage: Any, name: str, inward: tuple[int, int, int]
) -> None:
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath(f"/World/Room/{name}"))
    points, texcoords = (
        mesh.GetPointsAttr().Get(),
        UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st").Get(),
    )

    assert all(tuple(normal) == pytest.approx(inward) for normal in mesh.GetNormalsAttr().Get())
    for first, second in ((0, 1), (1, 2), (2, 3)):
        length_m = (points[second] - points[first]).GetLength()
        assert (texcoords[second] - texcoords[first]).GetLength() == pytest.approx(length_m)


def test_floor_and_walls_are_labelled_and_skirting_is_not(stage: Any) -> None:
    found = {
        prim.GetName(): labels_of(prim)
        for prim in stage.GetPrimAtPath("/World/Room").GetChildren()
        if prim.HasAPI(UsdSemantics.LabelsAPI, "class")
    }

    assert found == {
        "Floor": ["floor"],
        "BackWall": ["wall"],
        "LeftWall": ["wall"],
        "RightWall": ["wall"],
    }


def test_there_are_floors_and_walls_to_choose_from_and_each_has_its_texture(stage: Any) -> None:
    looks = [prim.GetName() for prim in stage.GetPrimAtPath("/World/Looks").GetChildren()]

    assert sum(name.startswith("floor_") for name in looks) >= 5
    assert sum(name.startswith("wall_") for name in looks) >= 6
    for name in looks:
        surface, _, _ = UsdShade.Material.Get(stage, f"/World/Looks/{name}").ComputeSurfaceSource()
        assert surface.GetIdAttr().Get() == "UsdPreviewSurface"
    textures = {path.stem for path in (SCENES / "showroom" / "textures").glob("*.jpg")}
    assert textures == set(looks) - {"skirting"}


def test_library_holds_exactly_the_assets_of_the_repository_as_abstract_prims(stage: Any) -> None:
    library = stage.GetPrimAtPath("/Library").GetFilteredChildren(Usd.PrimAllPrimsPredicate)

    assert sorted(prim.GetName() for prim in library) == sorted(
        path.stem for path in SCENES.glob("assets/*/*.usdc")
    )
    assert all(prim.IsAbstract() and prim.GetTypeName() == "Xform" for prim in library)
    assert not any(
        prim.IsA(UsdGeom.Mesh) for prim in Usd.PrimRange(stage.GetPrimAtPath("/Library"))
    )


def test_an_instance_of_a_class_prim_is_concrete_and_keeps_label_and_geometry(stage: Any) -> None:
    layer = Sdf.Layer.CreateAnonymous()
    layer.subLayerPaths.append(str(STAGE))
    frame = Usd.Stage.Open(layer)
    placed = frame.DefinePrim("/World/Objects/couch_0")
    placed.GetReferences().AddInternalReference("/Library/couch")
    UsdGeom.Xformable(placed).AddTranslateOp().Set((0.0, 1.0, 0.0))

    low, high = bounds_of(placed)
    assert not placed.IsAbstract()
    assert labels_of(placed) == ["couch"]
    assert low[2] == pytest.approx(0.0, abs=1e-4)
    assert (high[1] + low[1]) / 2 == pytest.approx(1.0, abs=1e-3)


def test_environments_point_their_pole_up_and_are_of_one_size(stage: Any) -> None:
    domes = stage.GetPrimAtPath("/Environments").GetFilteredChildren(Usd.PrimAllPrimsPredicate)

    assert len(domes) == 6
    for prim in domes:
        dome = UsdLux.DomeLight(prim)
        to_world = dome.ComputeLocalToWorldTransform(Usd.TimeCode.Default())
        up, centre = to_world.TransformDir((0, 1, 0)), to_world.TransformDir((0, 0, 1))
        assert prim.IsAbstract()
        assert tuple(up) == pytest.approx((0.0, 0.0, 1.0), abs=1e-6)
        assert tuple(centre) == pytest.approx((0.0, -1.0, 0.0), abs=1e-6)


def test_every_class_on_the_stage_is_in_the_coco_table(stage: Any) -> None:
    table = yaml.safe_load((SCENES / "showroom" / "coco_labels.yaml").read_text("utf-8"))
    used = {
        label
        for prim in Usd.PrimRange(stage.GetPseudoRoot(), Usd.PrimAllPrimsPredicate)
        if prim.HasAPI(UsdSemantics.LabelsAPI, "class")
        for label in labels_of(prim)
    }

    assert set(table["labels"]) == used
    scored = {name: coco for name, coco in table["labels"].items() if coco is not None}
    assert scored == {name: name for name in COCO_CLASSES}
    assert not set(table["ignored_predictions"]) & COCO_CLASSES
