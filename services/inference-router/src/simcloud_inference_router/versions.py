"""A model's versions: names that its callers ask for, and what is counted by each."""

from __future__ import annotations

from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.statistics import ModelCounts


def counted_version(model: RoutedModel, asked: str) -> str:
    """Version that a request is for, and counted under where the model has several.

    Args:
        model: whom it asks.
        asked: its version, one of the model's; empty: the model's first.
    """
    return asked or model.entry.versions[0]


def counts_of(model: RoutedModel, version: str) -> ModelCounts:
    """What became of the requests for one of a model's versions."""
    counts = model.counts
    return counts.by_version[version] if counts.by_version else counts
