"""Distributions: short forms, bounds, and what they draw."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from simcloud.spec.distributions import (
    Choice,
    Conditional,
    Constant,
    Distribution,
    GridValues,
    Integer,
    LogUniform,
    Normal,
    Real,
    Reference,
    Sequence,
    Stratified,
    Text,
    Uniform,
    to_float32,
)
from simcloud.spec.streams import RandomStream, StratifiedStream


class Holder(BaseModel):
    """Something that has a distribution."""

    value: Distribution


class RealHolder(BaseModel):
    """Something that has a distribution of numbers."""

    value: Real


class TextHolder(BaseModel):
    """Something that has a distribution of names."""

    value: Text


def stream(name: str = "x", seed: int = 1, frame: int = 0) -> RandomStream:
    return RandomStream(seed=seed, frame=frame, name=name)


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        (3, Constant(value=3)),
        ("oak", Constant(value="oak")),
        ({"uniform": [0, 1]}, Uniform(low=0, high=1)),
        ({"log_uniform": [1, 100]}, LogUniform(low=1, high=100)),
        ({"normal": [0, 2]}, Normal(mean=0, deviation=2)),
        ({"normal": {"mean": 0, "deviation": 2, "low": 0}}, Normal(mean=0, deviation=2, low=0)),
        ({"integer": [2, 5]}, Integer(low=2, high=5)),
        ({"choice": ["a", "b"]}, Choice(values=("a", "b"))),
        ({"weighted": {"a": 1, "b": 3}}, Choice(values=("a", "b"), weights=(1, 3))),
        ({"sequence": [1, 2]}, Sequence(values=(1, 2))),
        (
            {"sequence": {"values": ["a"], "stride": 3, "repeat": False}},
            Sequence(values=("a",), stride=3, repeat=False),
        ),
        ({"grid": [0, 90, 10]}, GridValues(low=0, high=90, steps=10)),
        (
            {"grid": {"low": 0, "high": 1, "steps": 2, "stride": 5}},
            GridValues(low=0, high=1, steps=2, stride=5),
        ),
        ({"stratified": {"uniform": [0, 1]}}, Stratified(of=Uniform(low=0, high=1))),
        (
            {"stratified": {"weighted": {"a": 1}}},
            Stratified(of=Choice(values=("a",), weights=(1,))),
        ),
        ({"from": "weather.haze"}, Reference(name="weather.haze")),
        (
            {"given": "day", "below": {6: 0.5, 18.0: {"uniform": [1, 2]}}, "default": 1},
            Conditional(
                given="day",
                below={"6": Constant(value=0.5), "18": Uniform(low=1, high=2)},
                default=Constant(value=1),
            ),
        ),
    ],
)
def test_short_forms_mean_their_long_form(short: object, expected: object) -> None:
    holder = Holder.model_validate({"value": short})
    assert holder.value == expected
    assert Holder.model_validate(holder.model_dump(mode="json")) == holder


@pytest.mark.parametrize(
    "wrong",
    [
        {"uniform": [1, 0]},
        {"log_uniform": [0, 1]},
        {"normal": [0, -1]},
        {"choice": []},
        {"weighted": {"a": 0}},
        {"weighted": {"a": -1, "b": 2}},
        {"unknown": [1, 2]},
        {"sequence": []},
        {"sequence": {"values": [1], "stride": 0}},
        {"grid": [0, 1, 1]},
        {"grid": [1, 0, 3]},
        {"grid": [0, 1]},
        {"stratified": {"sequence": [1]}},
        {"from": "No Name"},
        {"from": 3},
        {"given": "a", "cases": {}},
        {"given": "a", "cases": {"x": 1}, "below": {1: 1}, "default": 1},
        float("nan"),
    ],
)
def test_impossible_distributions_are_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Holder.model_validate({"value": wrong})


def test_numbers_and_names_are_not_mixed_up() -> None:
    with pytest.raises(ValidationError, match="must draw numbers"):
        RealHolder.model_validate({"value": {"choice": [1, "two"]}})
    with pytest.raises(ValidationError, match="must draw names"):
        TextHolder.model_validate({"value": {"choice": ["one", 2]}})


@given(st.integers(0, 2**53 - 1), st.integers(0, 10**9), st.text(min_size=1, max_size=20))
@settings(max_examples=50)
def test_a_stream_repeats_itself(seed: int, frame: int, name: str) -> None:
    first = [RandomStream(seed=seed, frame=frame, name=name).word() for _ in range(1)]
    again = RandomStream(seed=seed, frame=frame, name=name)
    words = [again.word() for _ in range(9)]
    assert words[0] == first[0]
    assert len(set(words)) == 9


def test_the_bits_are_the_documented_hash() -> None:
    import hashlib

    expected = hashlib.sha256(b"simcloud/v1|5|42|camera.main.eye.x|0").digest()
    got = RandomStream(seed=5, frame=42, name="camera.main.eye.x").word()
    assert got == int.from_bytes(expected[:8], "big")


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(0, 10**6))
@settings(max_examples=80)
def test_uniform_stays_between_its_ends(low: float, extent: float, frame: int) -> None:
    value = Uniform(low=low, high=low + extent).draw(stream(frame=frame))
    assert to_float32(low) <= value <= to_float32(low + extent)
    assert value == to_float32(value)


def test_moments_are_those_of_the_distributions() -> None:
    count = 4000
    streams = [stream(frame=frame) for frame in range(count)]
    uniform = [Uniform(low=-1, high=1).draw(one) for one in streams]
    normal = [Normal(mean=3, deviation=2).draw(one) for one in streams]
    logs = [math.log(LogUniform(low=1, high=100).draw(one)) for one in streams]
    integers = [Integer(low=1, high=6).draw(one) for one in streams]
    # 4-sigma bounds on the mean of `count` draws.
    assert abs(sum(uniform) / count) < 4 * (1 / math.sqrt(3)) / math.sqrt(count)
    assert abs(sum(normal) / count - 3) < 4 * 2 / math.sqrt(count)
    assert abs(sum(logs) / count - math.log(10)) < 4 * math.log(100) / math.sqrt(12 * count)
    for face in range(1, 7):
        share = integers.count(face) / count
        assert abs(share - 1 / 6) < 4 * math.sqrt(5 / 36 / count)


def test_weights_are_relative_chances() -> None:
    choice = Choice(values=("a", "b", "never"), weights=(3.0, 1.0, 0.0))
    drawn = [choice.draw(stream(frame=frame)) for frame in range(4000)]
    assert "never" not in drawn
    assert abs(drawn.count("a") / 4000 - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 4000)


def test_a_sequence_goes_by_the_frame() -> None:
    again = Sequence(values=(1, 2, 3), stride=2)
    assert [again.draw(stream(frame=frame)) for frame in range(8)] == [1, 1, 2, 2, 3, 3, 1, 1]
    once = Sequence(values=("a", "b"), repeat=False)
    assert [once.draw(stream(frame=frame)) for frame in range(4)] == ["a", "b", "b", "b"]


def test_grids_with_fitting_strides_go_through_all_pairs() -> None:
    first = GridValues(low=0, high=1, steps=3)
    second = GridValues(low=-1, high=1, steps=5, stride=3)
    pairs = {(first.draw(stream(frame=f)), second.draw(stream(frame=f))) for f in range(15)}
    assert pairs == {(x, y) for x in (0, 0.5, 1) for y in (-1, -0.5, 0, 0.5, 1)}


@given(st.integers(0, 1000), st.integers(0, 8), st.integers(0, 5), st.text(max_size=5))
@settings(max_examples=40)
def test_stratified_draws_hit_every_part_once(block: int, bits: int, seed: int, name: str) -> None:
    count = 2**bits
    frames = range(block * count, (block + 1) * count)
    drawn = [StratifiedStream(seed=seed, frame=frame, name=name).uniform() for frame in frames]
    assert sorted(math.floor(value * count) for value in drawn) == list(range(count))


def test_stratified_names_are_independent_of_each_other() -> None:
    pairs = [
        tuple(
            math.floor(8 * StratifiedStream(seed=1, frame=frame, name=name).uniform())
            for name in ("a", "b")
        )
        for frame in range(4096)
    ]
    counts = [pairs.count((x, y)) for x in range(8) for y in range(8)]
    # 64 cells of 64 expected each: 5 sigma of a binomial.
    assert all(abs(count - 64) < 5 * math.sqrt(64) for count in counts)


def test_stratified_weights_become_shares() -> None:
    choice = Stratified(of=Choice(values=("a", "b", "c"), weights=(5.0, 2.0, 1.0)))
    drawn = [choice.draw(stream(frame=frame)) for frame in range(512)]
    for first in range(0, 512, 8):
        block = drawn[first : first + 8]
        assert [block.count(value) for value in "abc"] == [5, 2, 1]
