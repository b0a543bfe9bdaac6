"""What is asked of AWS: lists in pages, regions and credentials, boto3 where there is none."""

from __future__ import annotations

import sys

import pytest

from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud_cli.endpoints.aws import Aws, AwsPlace, Request, make_client, s3_settings
from support.aws_stubs import REGION, PaperAws


async def test_a_list_in_pages_is_read_to_its_end(paper: PaperAws) -> None:
    asked = {"ResourceArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/x"}
    first, second = {"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}
    paper.answers("sagemaker", "ListTags", asked, {"Tags": [first], "NextToken": "more"})
    paper.answers("sagemaker", "ListTags", {**asked, "NextToken": "more"}, {"Tags": [second]})
    request = Request(service="sagemaker", operation="ListTags", parameters=asked)
    assert await Aws(AwsPlace()).rows(request, "Tags") == [first, second]


async def test_a_list_without_end_is_told_and_no_part_of_it_passes_for_all(paper: PaperAws) -> None:
    asked = {"ResourceArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/x"}
    for _ in range(100):
        paper.answers("sagemaker", "ListTags", None, {"Tags": [], "NextToken": "more"})
    request = Request(service="sagemaker", operation="ListTags", parameters=asked)
    with pytest.raises(PreconditionFailed, match=r"ListTags of .* more than 100 pages"):
        await Aws(AwsPlace()).rows(request, "Tags")


async def test_what_is_not_there_is_none(paper: PaperAws) -> None:
    paper.refuses("sagemaker", "DescribeModel", "ValidationException", "Could not find model x")
    request = Request(service="sagemaker", operation="DescribeModel", parameters={"ModelName": "x"})
    assert await Aws(AwsPlace()).find(request) is None


def test_a_request_is_held_against_the_services_model_unsent(paper: PaperAws) -> None:
    aws = Aws(AwsPlace())
    assert aws.region == REGION
    wrong = Request(service="sagemaker", operation="CreateModel", parameters={"Name": "x"})
    with pytest.raises(InvalidRequest, match=r'Missing required parameter.*"ModelName"'):
        aws.check(wrong)
    assert paper.sent == []


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(PreconditionFailed, match=r"simcloud-cli\[aws\]"):
        make_client("sagemaker", AwsPlace(region=REGION))


def test_s3_is_reached_by_the_same_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    settings = s3_settings(AwsPlace(region=REGION))
    assert (settings.region, settings.access_key_id) == (REGION, "key")
    assert settings.secret_access_key.get_secret_value() == "secret"
    assert settings.session_token.get_secret_value() == "token"


def test_without_a_region_the_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(InvalidRequest, match="--region"):
        s3_settings(AwsPlace())
