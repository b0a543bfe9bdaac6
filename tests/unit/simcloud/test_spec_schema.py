"""Editors complete specs by the JSON Schema: it takes what the models take, and refuses slips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from scripts.reference.schemas import json_schema, schema_sections
from simcloud.spec.model import Spec

ROOT = Path(__file__).parents[3]
SPECS = sorted((ROOT / "scenes").glob("*/spec*.yaml"))
EDITOR = json_schema(Spec, "Spec")

EVERY_FORM = """
scene: {root: stage.usda}
cameras:
  - name: main
    width_px: 64
    height_px: 48
    placement: {kind: look_at, eye: [0, {from: height}, 1], target: [0, 0, 0]}
randomization:
  values:
    height: {grid: [-4, -2, 5]}
    day: {stratified: {uniform: [0, 24]}}
    side: {stratified: {weighted: {left: 1, right: 3}}}
    turn: {sequence: [0, 90, 180]}
    slow: {sequence: {values: [a, b], stride: 8, repeat: false}}
    fine: {grid: {low: 0, high: 1, steps: 3, stride: 5}}
    lit: {choice: [true, false]}
  joint:
    - name: weather
      columns: [environment, temperature_k]
      rows: [[lab, 3000], [lobby, 6500]]
      weights: [1, 2]
      pick: stratified
  dome:
    environments: {from: weather.environment}
    rotation_deg:
      given: side
      cases: {left: {uniform: [0, 90]}, right: 180}
    intensity:
      given: day
      below: {"6": 0.1, "18": {given: lit, cases: {"true": 1, "false": {uniform: [1, 2]}}}}
      default: {log_uniform: [0.1, 0.2]}
  objects:
    - name: seats
      assets: {weighted: {sofa: 1, stool: 2}}
      balance: {couch: 1, chair: 1}
      distractor: true
      count: {integer: [1, 3]}
      placement: {kind: scatter, x_m: 0, y_m: 0}
  plugins:
    - {name: ring, randomizer: ring, settings: {around: seats_00, deep: {kind: conditional}}}
"""


def errors(spec: object) -> list[str]:
    return [error.message for error in Draft202012Validator(EDITOR).iter_errors(spec)]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(EDITOR)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_scenes_specs_are_what_both_schemas_take(path: Path) -> None:
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert errors(spec) == []
    models = Draft202012Validator(Spec.model_json_schema())
    assert [error.message for error in models.iter_errors(spec)] == []


def test_every_short_form_is_what_the_schema_and_the_model_take() -> None:
    spec = yaml.safe_load(EVERY_FORM)
    assert errors(spec) == []
    whole = Spec.model_validate(spec)
    assert errors(whole.model_dump(mode="json", exclude_none=True)) == []
    assert Spec.model_validate(whole.model_dump(mode="json")) == whole


@pytest.mark.parametrize(
    "slip",
    [
        {"stratfied": {"uniform": [0, 1]}},
        {"stratified": {"sequence": [1]}},
        {"stratified": {"from": "height"}},
        {"form": "height"},
        {"from": "No Such"},
        {"given": "day", "cases": {"a": {"unifrom": [0, 1]}}},
        {"given": "day", "case": {"a": 1}},
        {"cases": {"a": 1}},
        {"grid": [0, 1]},
        {"sequence": {"value": [1]}},
        {"sequence": []},
    ],
)
def test_slips_are_marked_in_the_editor_and_refused_by_the_model(slip: Any) -> None:
    spec = yaml.safe_load(EVERY_FORM)
    spec["randomization"]["dome"]["intensity"] = slip
    assert errors(spec)
    with pytest.raises(ValueError, match="intensity"):
        Spec.model_validate(spec)


def test_the_reference_explains_every_kind() -> None:
    text = "\n".join(schema_sections(EDITOR))
    for form in (
        "{sequence: [a, b]}",
        "{grid: [",
        "{stratified: {",
        "{from: name}",
        "{given: name",
    ):
        assert form in text
    for name in ("JointTable", "PluginRandomizer"):
        assert f"## {name}" in text
    assert "Short" not in text
