"""Exactly one semantic label on each thing that has an instance id, and none anywhere else.

Replicator joins the labels of nested prims ("room, floor"), and every labelled prim of a loaded
environment gets a mask of its own. So labels inside of assets and on empty prims are taken away,
the older semantics schema is brought to UsdSemantics.LabelsAPI, and what is left is the same
partition into objects that every backend has.
"""

from __future__ import annotations

from typing import Any

from simcloud.scene.semantics import TAXONOMY, own_label
from simcloud.scene.stage import LIBRARY_ROOT, OBJECTS_ROOT
from simcloud.scene.translate.types import NeutralScene
from simcloud_generator.backends.isaac.authoring import apply_schema, delete_schemas, over

SCHEMA = f"SemanticsLabelsAPI:{TAXONOMY}"
ATTRIBUTE = f"semantics:labels:{TAXONOMY}"
LEGACY_SCHEMA = "SemanticsAPI:"


def author_labels(stage: Any, layer: Any, scene: NeutralScene) -> list[str]:
    """Writes the labels of a scene into a layer stronger than the stage's own.

    Returns:
        What could not be written, each as ``<prim path>: <what>``.
    """
    from pxr import Sdf

    wanted = {prim.path: prim.label for prim in scene.labelled}
    wanted |= {
        f"{LIBRARY_ROOT}/{name}": asset.label
        for name, asset in scene.assets.items()
        if asset.label is not None
    }
    present = [prim for prim in stage.TraverseAll() if own_label(prim) is not None]
    problems = [
        f"{prim.GetPath()}: a label inside of an instance stays, and may split its object"
        for prim in stage.TraverseAll()
        if prim.IsInstance() and _labelled_inside(prim)
    ]
    with Sdf.ChangeBlock():
        for prim in present:
            path = str(prim.GetPath())
            if path not in wanted and not path.startswith(f"{OBJECTS_ROOT}/"):
                _take_away(over(layer, path), prim)
        for path, label in wanted.items():
            _label(over(layer, path), stage.GetPrimAtPath(path), label)
    return problems


def _label(spec: Any, prim: Any, label: str) -> None:
    from pxr import Sdf, Vt

    _delete_legacy(spec, prim)
    apply_schema(spec, SCHEMA)
    attribute = Sdf.AttributeSpec(spec, ATTRIBUTE, Sdf.ValueTypeNames.TokenArray)
    attribute.default = Vt.TokenArray([label])


def _take_away(spec: Any, prim: Any) -> None:
    from pxr import Sdf, Vt

    _delete_legacy(spec, prim)
    if prim.GetAttribute(ATTRIBUTE):
        delete_schemas(spec, [SCHEMA])
        attribute = Sdf.AttributeSpec(spec, ATTRIBUTE, Sdf.ValueTypeNames.TokenArray)
        attribute.default = Vt.TokenArray([])


def _delete_legacy(spec: Any, prim: Any) -> None:
    """The older schema's labels: ``semantic:<instance>:params:semanticLabel``."""
    from pxr import Sdf

    schemas = prim.GetMetadata("apiSchemas")
    applied = list(schemas.GetAddedOrExplicitItems()) if schemas is not None else []
    old = [str(name) for name in applied if str(name).startswith(LEGACY_SCHEMA)]
    if old:
        delete_schemas(spec, old)
    for found in prim.GetAuthoredPropertiesInNamespace("semantic"):
        if found.GetName().endswith(":params:semanticLabel"):
            attribute = Sdf.AttributeSpec(spec, found.GetName(), Sdf.ValueTypeNames.String)
            attribute.default = ""


def _labelled_inside(instance: Any) -> bool:
    from pxr import Usd

    inside = Usd.PrimRange(instance, Usd.TraverseInstanceProxies(Usd.PrimAllPrimsPredicate))
    return any(own_label(prim) is not None for prim in inside if prim != instance)
