"""Semantic labels on prims: UsdSemantics.LabelsAPI and the older Semantics.SemanticsAPI.

Only the taxonomy ``class`` counts, as in Replicator's default filter.
"""

from __future__ import annotations

from typing import Any

TAXONOMY = "class"


def own_label(prim: Any) -> str | None:
    """The class label that stands on the prim itself; several are joined by a comma.

    Args:
        prim: a ``pxr.Usd.Prim``.
    """
    attribute = prim.GetAttribute(f"semantics:labels:{TAXONOMY}")
    values = attribute.Get() if attribute else None
    labels = [str(value) for value in values] if values else _legacy_labels(prim)
    return ",".join(label for label in labels if label) or None


def _legacy_labels(prim: Any) -> list[str]:
    """Labels of ``semantic:<instance>:params:semanticType`` / ``semanticLabel`` pairs."""
    labels = []
    for attribute in prim.GetAuthoredPropertiesInNamespace("semantic"):
        name = attribute.GetName()
        if not name.endswith(":params:semanticLabel"):
            continue
        kind = prim.GetAttribute(name.removesuffix("semanticLabel") + "semanticType")
        if kind and kind.Get() == TAXONOMY:
            labels.append(str(attribute.Get() or ""))
    return labels


def nearest_label(prim: Any) -> tuple[Any, str] | None:
    """The nearest labelled prim, from the prim itself upwards, with its label."""
    while prim and not prim.IsPseudoRoot():
        label = own_label(prim)
        if label is not None:
            return prim, label
        prim = prim.GetParent()
    return None


def asset_label(prim: Any) -> str | None:
    """Label of a library asset: its own, or that of the one child that has one."""
    label = own_label(prim)
    if label is not None:
        return label
    found = [label for label in map(own_label, prim.GetAllChildren()) if label is not None]
    return found[0] if len(found) == 1 else None
