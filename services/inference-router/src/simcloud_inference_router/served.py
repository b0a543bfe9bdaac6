"""The models that are served now, and those that only open streams still use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias
from weakref import WeakSet

from simcloud.errors import NotFound
from simcloud_inference_router.catalog import Catalog, ModelEntry
from simcloud_inference_router.catalog_status import CatalogChange
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.routing.door import Door

BuildModel: TypeAlias = Callable[[ModelEntry, RoutedModel | None], RoutedModel]
"""Makes a model of an entry; what it may keep of the one before comes from that."""


class Served:
    """The models of the catalogue in force.

    A stream keeps the model that it began with: when a new catalogue takes its place, that model's
    door is still here for as long as anyone holds it, so that operators reach it too.

    Args:
        catalog: the first.
        build: makes its models and those of later ones.
    """

    def __init__(self, catalog: Catalog, *, build: BuildModel) -> None:
        self.catalog = catalog
        self.models: Mapping[str, RoutedModel] = {
            entry.name: build(entry, None) for entry in catalog.models
        }
        self._build = build
        self._former: WeakSet[Door] = WeakSet()

    def replace(self, catalog: Catalog) -> CatalogChange:
        """Serves another catalogue from now on.

        What did not change stays as it is: doors with all that they learnt, counts, and what was
        set by hand for a target whose entry's weight is the same. Nothing changes when one of the
        models can't be made.
        """
        before = self.models
        after = {entry.name: self._build(entry, before.get(entry.name)) for entry in catalog.models}
        doors = {model.door for model in after.values()}
        self._former.update(model.door for model in before.values() if model.door not in doors)
        for name, model in after.items():
            known = before.get(name)
            if known is not None:
                model.counts.count_versions(known.entry.versions, model.entry.versions)
            model.door.adopt(model.entry.targets)
            if model.shadow is not None:
                model.shadow.adopt(model.entry.targets)
        self.catalog, self.models = catalog, after
        return CatalogChange(
            added=tuple(name for name in after if name not in before),
            changed=tuple(
                name for name in after if name in before and after[name] is not before[name]
            ),
            removed=tuple(name for name in before if name not in after),
        )

    def model_of(self, target: str) -> RoutedModel:
        """The model that a target belongs to; a shadow has no traffic, and so none that is changed.

        Raises:
            NotFound: there is no such target, or it is a shadow.
        """
        for model in self.models.values():
            if any(each.name == target for each in model.roster.targets):
                return model
            if model.shadow is not None and model.shadow.target.name == target:
                raise NotFound(
                    f"target {target!r} is the shadow of model {model.entry.name}: it has no "
                    "traffic of its own to change; its share is the catalogue's `shadow.sample`",
                    target=target,
                )
        known = ", ".join(
            sorted(each.name for model in self.models.values() for each in model.roster.targets)
        )
        raise NotFound(
            f"there is no target {target!r}; there are: {known or 'none'}", target=target
        )

    def doors_of(self, target: str) -> list[Door]:
        """Every door that leads to a target: its model's, then those that only streams still use.

        Raises:
            NotFound: as ``model_of``.
        """
        doors = [self.model_of(target).door]
        doors.extend(door for door in self._former if _leads_to(door, target))
        return doors

    def former_in_flight(self, target: str) -> int:
        """Requests at a target through doors that only streams still use."""
        return sum(
            each.in_flight
            for door in self._former
            for each in door.roster.targets
            if each.name == target
        )


def _leads_to(door: Door, target: str) -> bool:
    return any(each.name == target for each in door.roster.targets)
