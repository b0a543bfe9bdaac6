from __future__ import annotations

import pytest

from simcloud.errors import PermissionDenied
from simcloud.rpc.auth import AllowLists, Authorizer, CallerAllowList, OperatorLists


@pytest.mark.parametrize(
    ("entry", "bucket", "prefix", "allowed"),
    [
        ("*", "any", "where", True),
        ("data", "data", "", True),
        ("data", "data", "runs/x", True),
        ("data", "data2", "", False),
        ("data/runs", "data", "runs", True),
        ("data/runs", "data", "runs/", True),
        ("data/runs/", "data", "runs/x/y", True),
        ("data/runs", "data", "/runs/x", False),
        ("data/runs", "data", "runs/../x", False),
        ("data/runs", "data", "runs/./x", False),
        ("data/runs", "data", "..", False),
        ("data", "data", "../other/x", False),
        ("data/runs", "data", "runs2", False),
        ("data/runs", "data", "", False),
        ("data/runs", "data", "other/runs", False),
    ],
)
def test_prefixes_cover_whole_segments(entry: str, bucket: str, prefix: str, allowed: bool) -> None:
    lists = AllowLists(buckets=("elsewhere", entry))
    if allowed:
        lists.check_bucket("someone", bucket, prefix)
    else:
        with pytest.raises(PermissionDenied, match="someone may not name s3://") as caught:
            lists.check_bucket("someone", bucket, prefix)
        assert caught.value.metadata["bucket"] == bucket


def test_models_are_named_or_all() -> None:
    AllowLists().check_model("someone", "any")
    lists = AllowLists(models=("nanodet",))
    lists.check_model("someone", "nanodet")
    with pytest.raises(PermissionDenied, match="may not use the model other"):
        lists.check_model("someone", "other")


def test_a_callers_own_lists_replace_those_of_everyone() -> None:
    lists = AllowLists(
        buckets=("common",),
        callers=(CallerAllowList(caller="spiffe://prod/trainer", buckets=("own",)),),
    )
    lists.check_bucket("spiffe://prod/trainer", "own")
    lists.check_bucket("someone", "common")
    for caller, bucket in (("spiffe://prod/trainer", "common"), ("someone", "own")):
        with pytest.raises(PermissionDenied):
            lists.check_bucket(caller, bucket)
    with pytest.raises(PermissionDenied):
        lists.check_model("spiffe://prod/trainer", "nanodet")


def test_operators_are_on_a_list_and_without_one_there_are_none() -> None:
    lists = OperatorLists(admins=frozenset({"spiffe://prod/operator"}), models=("nanodet",))
    lists.check_admin("spiffe://prod/operator")
    nobody: tuple[Authorizer, ...] = (lists, AllowLists(), OperatorLists())
    for authorizer in nobody:
        with pytest.raises(PermissionDenied, match="someone may not operate this service"):
            authorizer.check_admin("someone")
    with pytest.raises(PermissionDenied, match="may not use the model other"):
        lists.check_model("spiffe://prod/operator", "other")
