"""The catalogue's examples in docs/guides/targets.md are read as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.target_entry import KINDS

PAGE = Path(__file__).parents[3] / "docs" / "guides" / "targets.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
TENSOR = {"datatype": "FP32", "shape": [-1, 4]}
MODEL = {
    "name": "det",
    "task": "object_detection",
    "digest": "0" * 64,
    "inputs": [{"name": "x", **TENSOR}],
    "outputs": [{"name": "y", **TENSOR}],
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_catalogues_entry(example: str) -> None:
    fields = yaml.safe_load(example)
    ModelEntry.model_validate(fields if "name" in fields else {**MODEL, **fields})


def test_every_kind_has_its_example_and_its_row() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for kind in KINDS:
        assert any(re.search(rf"kind: {kind}\b", example) for example in EXAMPLES), kind
        assert f"| `{kind}` |" in text
