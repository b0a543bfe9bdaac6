"""What one randomizer draws depends on no other: properties of specs that refer to values."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters
from simcloud.spec.references import named_draws
from simcloud.spec.sample import sample
from support.referring_specs import (
    LAMP,
    SCENE,
    WEATHER,
    Json,
    make,
    values,
)

NUMBERS: list[Json] = [
    {"uniform": [0.5, 2]},
    {"log_uniform": [0.5, 2]},
    {"normal": {"mean": 1, "deviation": 1, "low": 0.5, "high": 2}},
    {"integer": [1, 2]},
    {"choice": [0.5, 1.5]},
    {"sequence": {"values": [0.5, 1, 2], "stride": 2}},
    {"grid": [0.5, 2, 7]},
    {"stratified": {"log_uniform": [0.5, 2]}},
]


@st.composite
def randomizations(draw: st.DrawFn) -> Json:
    """Shared values, tables, lights and groups; later ones may refer to earlier shared values."""
    names = [f"value{index}" for index in range(draw(st.integers(1, 4)))]
    shared: Json = {}
    for index, name in enumerate(names):
        shared[name] = draw(_numbers(names[:index]))
    number = _numbers(names)
    lights = [
        LAMP | {"name": f"lamp{index}", "radiance": draw(number), "yaw_deg": draw(number)}
        for index in range(draw(st.integers(0, 3)))
    ]
    groups = [
        {
            "name": f"group{index}",
            "assets": "crate",
            "count": {"integer": [0, 3]},
            "scale": draw(number),
            "placement": {"kind": "scatter", "x_m": draw(number), "y_m": draw(number)},
        }
        for index in range(draw(st.integers(0, 2)))
    ]
    tables = [
        {"name": f"table{index}", "columns": ["a"], "rows": [[1], [2]]}
        for index in range(draw(st.integers(0, 2)))
    ]
    return {"values": shared, "rect_lights": lights, "objects": groups, "joint": tables}


def _numbers(names: list[str]) -> st.SearchStrategy[Json]:
    plain = st.sampled_from(NUMBERS)
    if not names:
        return plain
    name = st.sampled_from(names)
    conditional = st.builds(
        lambda given, low, high: {"given": given, "below": {1: low}, "default": high},
        name,
        plain,
        plain,
    )
    return plain | name.map(lambda one: {"from": one}) | conditional


def _needed(part: object) -> set[str]:
    """Names that a piece of a spec refers to."""
    if isinstance(part, dict):
        own = {part[key] for key in ("from", "given") if key in part}
        return own.union(*(_needed(value) for value in part.values()))
    if isinstance(part, list):
        return set[str]().union(*(_needed(value) for value in part))
    return set()


@given(randomizations(), st.integers(0, 5000), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_order_changes_nothing_at_all(part: Json, frame: int, random: Any) -> None:
    shuffled: Json = {}
    for key in random.sample(list(part), len(part)):
        items = part[key]
        if isinstance(items, dict):
            shuffled[key] = dict(random.sample(list(items.items()), len(items)))
        else:
            shuffled[key] = random.sample(items, len(items))
    assert _by_name(sample(make(**shuffled), SCENE, frame)) == _by_name(
        sample(make(**part), SCENE, frame)
    )


def _by_name(parameters: FrameParameters) -> Json:
    return {
        "values": parameters.values,
        "objects": parameters.objects,
        "lights": sorted(parameters.rect_lights, key=lambda light: light.name),
        "cameras": parameters.cameras,
        "seed": parameters.render_seed,
    }


@given(randomizations(), st.integers(0, 5000), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_removing_one_randomizer_changes_no_other_value(
    part: Json, frame: int, data: st.DataObject
) -> None:
    before = values(make(**part), frame)
    reduced = copy.deepcopy(part)
    kind = data.draw(st.sampled_from([key for key in reduced if reduced[key]]))
    if kind == "values":
        free = [name for name in reduced["values"] if name not in _needed(reduced)]
        if not free:
            return
        gone = data.draw(st.sampled_from(free))
        del reduced["values"][gone]
    else:
        gone = reduced[kind].pop(data.draw(st.integers(0, len(reduced[kind]) - 1)))["name"]
    after = values(make(**reduced), frame)
    lost = before.keys() - after.keys()
    assert all(gone in name for name in lost)
    # How many objects found a place is what all groups of a floor decide together.
    places = {name for name in before if name.startswith("objects.")}
    same = before.keys() - lost - places
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


@given(randomizations())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_columns_are_those_of_the_spec_in_every_frame(part: Json) -> None:
    spec = make(**part)
    columns = [list(values(spec, frame)) for frame in range(6)]
    assert all(names == columns[0] for names in columns)
    for name, found in named_draws(spec).items():
        if getattr(found.distribution, "kind", "") != "constant":
            assert name in columns[0]


def every_kind() -> Spec:
    """A spec in which every kind of distribution draws something."""
    return make(
        joint=[WEATHER, WEATHER | {"name": "even", "pick": "stratified"}],
        values={
            **{f"value{index}": kind for index, kind in enumerate(NUMBERS)},
            "even_normal": {"stratified": {"normal": [0, 2]}},
            "below": {
                "given": "value1",
                "below": {1: {"from": "value2"}},
                "default": {"from": "b"},
            },
            "b": {
                "given": "weather.environment",
                "cases": {"lab": {"normal": [1, 3]}},
                "default": 1,
            },
        },
    )


_PRINT = """
import sys
sys.path[:0] = sys.argv[1:]
from test_spec_independence import every_kind, values
for frame in range(100):
    print(values(every_kind(), frame))
"""


def test_every_kind_draws_the_same_whatever_the_cpu_offers() -> None:
    spec = every_kind()
    printed = subprocess.run(
        [sys.executable, "-c", _PRINT, str(Path(__file__).parent), str(Path(__file__).parents[2])],
        env={
            **os.environ,
            "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F,-FMA4",
            "PYTHONHASHSEED": "7",
        },
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed.splitlines() == [str(values(spec, frame)) for frame in range(100)]
