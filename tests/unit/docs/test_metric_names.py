"""What the pages and the deployments ask Prometheus for is there under that name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from simcloud.telemetry.names import declared

ROOT = Path(__file__).parents[3]
DECLARING = (
    "simcloud_generator.metrics",
    "simcloud_inference_router.discovery.metrics",
    "simcloud_inference_router.metrics",
    "simcloud_uploader.metrics",
)
READ = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(
        each
        for kind in ("compose/*.yaml", "k8s/**/*.yaml", "k8s/**/*.json", "k8s/**/*.md")
        for each in sorted((ROOT / "deploy").glob(kind))
    ),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
]
_METRIC = re.compile(r"\bsimcloud_(?:router|generator|uploader|budget|channel)_[a-z0-9_]+\b")
_OF_A_HISTOGRAM = ("", "_bucket", "_count", "_sum")


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """Every name of ours that an endpoint of metrics answers with."""
    for each in DECLARING:
        importlib.import_module(each)
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": _OF_A_HISTOGRAM}
    return {f"{each.name}{suffix}" for each in declared() for suffix in suffixes[each.kind]}


def test_every_metric_that_is_named_can_be_asked_for(exported: set[str]) -> None:
    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in READ
        for name in _METRIC.findall(path.read_text(encoding="utf-8"))
        if name not in exported
    }
    assert not unknown, sorted(unknown)
