"""The few ways of writing into a layer that the backend needs, by Sdf alone.

Sdf rather than Usd, because a change block may be open: Kit then sees one change for a frame and
not one for each attribute.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simcloud.geometry import Float64

TRANSFORM = "xformOp:transform:simcloud"


def define(layer: Any, path: str, kind: str = "") -> Any:
    """The spec of a prim that this layer defines, with its type where one is given."""
    from pxr import Sdf

    spec = over(layer, path)
    spec.specifier = Sdf.SpecifierDef
    if kind:
        spec.typeName = kind
    return spec


def over(layer: Any, path: str) -> Any:
    """The spec of a prim that another layer defines."""
    from pxr import Sdf

    return layer.GetPrimAtPath(path) or Sdf.CreatePrimInLayer(layer, path)


def put(spec: Any, name: str, kind: Any, value: Any) -> None:
    """Sets an attribute; an equal value is left alone, so that nobody is told of a change."""
    from pxr import Sdf

    attribute = spec.attributes.get(name)
    if attribute is None:
        attribute = Sdf.AttributeSpec(spec, name, kind)
    if attribute.default != value:
        attribute.default = value


def put_transform(spec: Any, matrix: Float64) -> None:
    """Gives a prim one transform, (4, 4) for column vectors, in place of all that it had."""
    from pxr import Gf, Sdf, Vt

    put(spec, TRANSFORM, Sdf.ValueTypeNames.Matrix4d, Gf.Matrix4d(matrix.T.tolist()))
    if spec.attributes.get("xformOpOrder") is None:
        order = Sdf.AttributeSpec(
            spec, "xformOpOrder", Sdf.ValueTypeNames.TokenArray, Sdf.VariabilityUniform
        )
        order.default = Vt.TokenArray([TRANSFORM])


def bind(layer: Any, path: str, material: str) -> None:
    """Binds a material to a prim."""
    from pxr import Sdf

    spec = over(layer, path)
    apply_schema(spec, "MaterialBindingAPI")
    relationship = spec.relationships.get("material:binding")
    if relationship is None:
        relationship = Sdf.RelationshipSpec(spec, "material:binding", custom=False)
    targets = [Sdf.Path(material)]
    if list(relationship.targetPathList.explicitItems) != targets:
        relationship.targetPathList.explicitItems = targets


def unbind(layer: Any, path: str) -> None:
    """Takes back what :func:`bind` wrote."""
    spec = layer.GetPrimAtPath(path)
    relationship = spec.relationships.get("material:binding") if spec else None
    if relationship is not None:
        spec.RemoveProperty(relationship)


def apply_schema(spec: Any, schema: str) -> None:
    """Prepends an applied schema to a prim's list."""
    from pxr import Sdf

    operations = spec.GetInfo("apiSchemas") or Sdf.TokenListOp()
    if schema not in operations.prependedItems:
        operations.prependedItems = [*operations.prependedItems, schema]
        spec.SetInfo("apiSchemas", operations)


def delete_schemas(spec: Any, schemas: list[str]) -> None:
    """Deletes applied schemas that weaker layers list."""
    from pxr import Sdf

    operations = spec.GetInfo("apiSchemas") or Sdf.TokenListOp()
    operations.deletedItems = [*operations.deletedItems, *schemas]
    spec.SetInfo("apiSchemas", operations)


def remove(layer: Any, path: str) -> None:
    """Takes a prim out of the layer."""
    spec = layer.GetPrimAtPath(path)
    if spec:
        del spec.nameParent.nameChildren[spec.name]


def rigid(matrix: Float64) -> Float64:
    """A similarity without its scale."""
    result = matrix.copy()
    result[:3, :3] /= np.sqrt((matrix[:3, :3] ** 2).sum(axis=0))
    return result
