"""What predictions of a transform job are called: the same as through the router, or refused."""

from __future__ import annotations

from typing import cast

import pytest

from simcloud.errors import InvalidRequest, NotFound, PreconditionFailed
from simcloud.s3.objects import ObjectStore
from simcloud_cli.context import Context
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.packaged import PackagedModel
from simcloud_cli.session import Session
from simcloud_cli.transformflow import called, model_of_endpoint
from support.aws_stubs import PaperAws
from support.paper_endpoints import NAME, shows_no_endpoint, shows_realtime

DIGEST = "0123456789abcdef" * 4


def _session() -> Session:
    """Of a context without a router."""
    store = cast("ObjectStore", object())
    return Session(name="aws", context=Context(), store=store, channels={}, targets={})


def _package(task: str = "object_detection") -> PackagedModel:
    return PackagedModel(
        format="sagemaker",
        sha256="0" * 64,
        environment={},
        model={"name": "nanodet-g", "digest": DIGEST, "task": task},
    )


async def _called(model: str, packaged: PackagedModel | None = None) -> tuple[str, str]:
    return await called(_session(), packaged, model, sagemaker_model="detector-5f0c")


async def test_a_package_says_name_and_digest() -> None:
    assert await _called("nanodet-g", _package()) == ("nanodet-g", DIGEST)
    assert await _called(f"nanodet-g@{DIGEST[:16]}", _package()) == ("nanodet-g", DIGEST)


@pytest.mark.parametrize("model", ["other", "nanodet-g@" + "f" * 16])
async def test_another_name_or_digest_than_the_package_s_is_refused(model: str) -> None:
    with pytest.raises(InvalidRequest, match=r"by its model\.json, not"):
        await _called(model, _package())


async def test_a_package_that_answers_tensors_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="does tensors"):
        await _called("nanodet-g", _package("tensors"))


async def test_without_a_package_the_caller_says_the_digest() -> None:
    assert await _called(f"det@{DIGEST[:16]}") == ("det", DIGEST[:16])
    with pytest.raises(InvalidRequest, match="16 digits"):
        await _called("det@01234567")
    with pytest.raises(InvalidRequest, match="hex digits"):
        await _called("det@nothing")
    with pytest.raises(PreconditionFailed, match="--model det@<digest>"):
        await _called("det")


async def test_an_endpoint_names_its_one_model(paper: PaperAws) -> None:
    aws = Aws(AwsPlace())
    shows_realtime(paper)
    assert await model_of_endpoint(aws, NAME) == "detector-model"
    shows_no_endpoint(paper)
    with pytest.raises(NotFound, match="DescribeEndpoint endpoint/detector"):
        await model_of_endpoint(aws, NAME)
