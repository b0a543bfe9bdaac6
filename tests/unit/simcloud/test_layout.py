"""Keys of a run: where everything is, and what a key is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.dataset.layout import KeyKind, ModelKey, RunKey, RunLocation, scene_root
from simcloud.errors import InvalidRequest

RUN = RunLocation(bucket="renders", prefix="team/a", run="first")
MODEL = ModelKey(model="nanodet-g", digest="0123456789abcdef")


def test_every_key_is_where_the_design_says() -> None:
    root = "team/a/first/"
    assert RUN.spec_key == root + "spec.json"
    assert RUN.plan_key(1) == root + "plans/0001.json"
    assert RUN.shard_key(0) == root + "shards/000000.tar"
    assert RUN.index_key(12) == root + "index/000012.parquet"
    assert RUN.prediction_key(MODEL, 3) == (
        root + "predictions/nanodet-g@0123456789abcdef/000003.parquet"
    )
    assert RUN.report_key(MODEL, "metrics.json") == (
        root + "reports/nanodet-g@0123456789abcdef/metrics.json"
    )
    assert RUN.manifest_key(2) == root + "manifests/0002.json"
    assert RUN.epoch_key(7, 1) == root + "uploads/000007/0001.json"
    assert RUN.aborted_key == root + "_aborted"
    assert scene_root("team/a", "a" * 64) == f"team/a/scenes/{'a' * 64}/"
    assert RUN.uri == "s3://renders/team/a/first"


def test_without_a_prefix_a_run_is_at_the_buckets_root() -> None:
    assert RunLocation(bucket="renders", prefix="", run="r").spec_key == "r/spec.json"
    assert scene_root("", "a" * 64) == f"scenes/{'a' * 64}/"


@given(st.integers(0, 10**7), st.integers(1, 9999))
def test_a_key_says_what_it_is(shard: int, number: int) -> None:
    parsed = {
        RUN.shard_key(shard): RunKey(KeyKind.SHARD, shard=shard),
        RUN.index_key(shard): RunKey(KeyKind.INDEX, shard=shard),
        RUN.epoch_key(shard, number): RunKey(KeyKind.EPOCH, shard=shard, number=number),
        RUN.plan_key(number): RunKey(KeyKind.PLAN, number=number),
        RUN.manifest_key(number): RunKey(KeyKind.MANIFEST, number=number),
        RUN.prediction_key(MODEL, shard): RunKey(KeyKind.PREDICTIONS, shard=shard, model=MODEL),
        RUN.report_key(MODEL, "a/b.png"): RunKey(KeyKind.REPORT, model=MODEL, name="a/b.png"),
        RUN.spec_key: RunKey(KeyKind.SPEC),
        RUN.aborted_key: RunKey(KeyKind.ABORTED),
    }
    for key, expected in parsed.items():
        assert RUN.parse(key) == expected


@pytest.mark.parametrize(
    "path",
    ["shards/0.tar", "shards/000000.tar.tmp", "index/000000.parquet/x", "spec.json2", "other"],
)
def test_a_foreign_key_is_nothing_of_ours(path: str) -> None:
    assert RUN.parse(RUN.key(path)) is None


def test_a_key_of_another_run_is_nothing_of_ours() -> None:
    assert RUN.parse("team/a/second/spec.json") is None


@pytest.mark.parametrize("uri", ["s3://renders/team/a/first", "s3://renders/team/a/first/"])
def test_a_location_is_read_from_its_uri(uri: str) -> None:
    assert RunLocation.from_uri(uri) == RUN


@pytest.mark.parametrize(
    ("uri", "field"),
    [
        ("renders/first", "run"),
        ("s3://renders", "run"),
        ("https://renders/first", "run"),
        ("s3://Renders/first", "run.bucket"),
        ("s3://ab/first", "run.bucket"),
        ("s3://127.0.0.1/first", "run.bucket"),
        ("s3://renders/a//first", "run.prefix"),
        ("s3://renders/../first", "run.prefix"),
        ("s3://renders/a b/first", "run.prefix"),
        ("s3://renders/First", "run.run"),
        ("s3://renders/-x", "run.run"),
        (f"s3://renders/{'x' * 65}", "run.run"),
        ("s3://renders/scenes", "run.run"),
    ],
)
def test_what_can_not_be_a_location_is_refused_by_field(uri: str, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        RunLocation.from_uri(uri)
    assert caught.value.field == field


@pytest.mark.parametrize("name", ["../x", "a/../b", "/a", "a//b", ""])
def test_a_report_can_not_leave_its_folder(name: str) -> None:
    with pytest.raises(InvalidRequest, match="not a file name"):
        RUN.report_key(MODEL, name)


def test_a_model_key_is_its_name_and_digest() -> None:
    assert ModelKey.parse(str(MODEL)) == MODEL
    for text in ("nanodet", "@0123456789abcdef", "a@b", "a/b@0123456789abcdef"):
        with pytest.raises(InvalidRequest):
            ModelKey.parse(text)


def test_a_scene_is_named_by_64_hex_digits() -> None:
    with pytest.raises(InvalidRequest, match=re.escape("is not 64 hex digits")):
        scene_root("", "../../etc")
