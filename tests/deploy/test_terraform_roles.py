"""deploy/terraform, planned: what each role may do, where, and who may take it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from simcloud_cli.endpoints.transform_request import TransformSettings
from simcloud_inference_router.discovery.options import MODEL_TAG
from support.terraform_iam import (
    Statement,
    actions_of,
    explained,
    managed_policies,
    objections,
    statements_of,
)
from support.terraform_plan import ACCOUNT, BUCKET, ROOT, SERVICES, SETS, Plan, Workspace


@pytest.mark.parametrize("name", SETS)
def test_no_role_has_a_wildcard_that_is_not_explained(terraform: Workspace, name: str) -> None:
    plan = terraform.plan(name)
    found = statements_of(plan)
    assert len({each.role for each in found}) >= 6
    assert [problem for each in found for problem in objections(each)] == []
    assert managed_policies(plan) <= explained.managed


def test_a_wildcard_would_be_found() -> None:
    for action, resource in (
        ("s3:*", f"arn:aws:s3:::{BUCKET}/runs/*"),
        ("s3:GetObject", "*"),
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/*"),
        ("s3:GetObject", "arn:aws:s3:::*/runs/*"),
        ("sagemaker:InvokeEndpoint", f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/*"),
        ("ec2:RunInstances", f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/*"),
    ):
        assert objections(Statement("some", (action,), (resource,), {})), (action, resource)
    endpoints = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/*"
    untagged = {"Null": {"aws:ResourceTag/simcloud:model": "true"}}
    for condition in (untagged, {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}):
        assert objections(Statement("some", ("sagemaker:InvokeEndpoint",), (endpoints,), condition))


def test_every_exception_is_used(everything: Plan) -> None:
    used = {action for each in statements_of(everything) for action in each.actions}
    assert explained.actions <= used
    assert managed_policies(everything) == explained.managed


def test_each_role_does_what_its_service_does_and_no_more(everything: Plan) -> None:
    writing = {
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    }
    # What the library asks of S3 is what its writers may do: in both directions.
    assert actions_of_library() == writing
    key = {"kms:Decrypt", "kms:GenerateDataKey"}
    asking = {"sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointAsync"}
    pulling = {
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetAuthorizationToken",
        "ecr:GetDownloadUrlForLayer",
    }
    logging = {"logs:CreateLogStream", "logs:PutLogEvents"}
    some_writing = {"s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"}
    expected = {
        "uploader": writing | key,
        "run": writing | key,
        "generator": {"s3:GetObject", "s3:ListBucket"} | key,
        "inference-router": asking
        | {"s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"}
        | {"sagemaker:InvokeInferenceRouter"}
        | DISCOVERY
        | key,
        "sagemaker": pulling
        | logging
        | some_writing
        | {"cloudwatch:PutMetricData", "logs:DescribeLogStreams", "sns:Publish"}
        | key,
        "batch-execution": pulling | logging,
        "webapp": asking | some_writing | {"s3:ListMultipartUploadParts"} | key,
        "stop-idle": {"cloudwatch:DescribeAlarms", "sagemaker:DeleteEndpoint"},
        "stop-idle-start": {"states:StartExecution"},
    }
    assert expected.items() <= actions_of(everything).items()
    assert set(actions_of(everything)) - set(expected) == {"github", "karpenter"}


def actions_of_library() -> set[str]:
    """IAM actions of the S3 calls in our code, but for making buckets."""
    operations = {
        "abort_multipart_upload": "s3:AbortMultipartUpload",
        "complete_multipart_upload": "s3:PutObject",
        "create_multipart_upload": "s3:PutObject",
        "delete_objects": "s3:DeleteObject",
        "get_object": "s3:GetObject",
        "head_bucket": "s3:ListBucket",
        "head_object": "s3:GetObject",
        "list_multipart_uploads": "s3:ListBucketMultipartUploads",
        "list_objects_v2": "s3:ListBucket",
        "list_parts": "s3:ListMultipartUploadParts",
        "put_object": "s3:PutObject",
        "upload_part": "s3:PutObject",
        "upload_part_copy": "s3:PutObject",
    }
    called = set()
    for path in (ROOT / "packages/simcloud/src/simcloud/s3").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        called |= set(re.findall(r"client\.([a-z_0-9]+)\(", text))
    return {operations[name] for name in called & set(operations)}


def test_roles_are_bound_to_their_prefixes_and_endpoints(everything: Plan) -> None:
    prefixes: dict[str, set[str]] = {}
    endpoints: dict[str, set[str]] = {}
    for each in statements_of(everything):
        for resource in each.resources:
            if resource.startswith(f"arn:aws:s3:::{BUCKET}/"):
                prefix = resource.removeprefix(f"arn:aws:s3:::{BUCKET}/")
                prefixes.setdefault(each.role, set()).add(prefix)
            elif ":endpoint/" in resource and "sagemaker:InvokeEndpoint" in each.actions:
                endpoints.setdefault(each.role, set()).add(resource.rsplit("/", 1)[1])
    assert prefixes == {
        "uploader": {"runs/*"},
        "generator": {"runs/*"},
        "run": {"runs/*"},
        "inference-router": {"runs/*", "uploads/*", "async/in/*", "async/out/*"},
        "sagemaker": {"async/in/*", "async/out/*"},
        "webapp": {"uploads/*", "async/in/*", "async/out/*"},
    }
    assert endpoints.pop("inference-router") == {"simcloud-steady", "west", "*"}
    assert endpoints == {role: {"simcloud-steady"} for role in ("webapp", "github")}
    for each in statements_of(everything):
        if each.actions == ("s3:ListBucket",):
            # Not only StringLike: GetObject of what is not there would then be a 403.
            assert set(each.condition) == {"StringLikeIfExists"}


DISCOVERY = {"sagemaker:ListEndpoints", "tag:GetResources"}


def test_the_router_looks_for_endpoints_only_where_that_is_asked_for(
    defaults: Plan, everything: Plan, zero: Plan
) -> None:
    for plan in (defaults, zero):
        assert not DISCOVERY & actions_of(plan)["inference-router"]
        assert not any(
            resource.endswith(":endpoint/*")
            for each in statements_of(plan)
            for resource in each.resources
        )
    looking, asking = (
        each
        for each in statements_of(everything)
        if each.role == "inference-router" and each.resources[0].endswith("*")
        if each.resources[0].split(":")[2:3] != ["s3"]
    )
    assert set(looking.actions) == DISCOVERY
    assert looking.condition == {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}
    assert asking.actions == ("sagemaker:InvokeEndpoint",)
    assert asking.condition == {"Null": {f"aws:ResourceTag/{MODEL_TAG}": "false"}}


def test_awss_own_routers_and_their_destinations_are_named(
    defaults: Plan, everything: Plan
) -> None:
    assert "sagemaker:InvokeInferenceRouter" not in actions_of(defaults)["inference-router"]
    router = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:inference-router/fleet"
    destination = f"arn:aws:sagemaker:us-west-2:{ACCOUNT}:endpoint/west"
    found = [
        (each.role, each.actions, each.condition)
        for each in statements_of(everything)
        if {router, destination} & set(each.resources)
    ]
    through_it = {"ArnEquals": {"sagemaker:SourceInferenceRouterArn": [router]}}
    assert found == [
        ("inference-router", ("sagemaker:InvokeInferenceRouter",), {}),
        ("inference-router", ("sagemaker:InvokeEndpoint",), through_it),
    ]


def test_logs_of_transform_jobs_have_a_place_and_an_end(defaults: Plan) -> None:
    group = "/aws/sagemaker/TransformJobs"
    made = defaults.of("aws_cloudwatch_log_group").values()
    (days,) = [each["retention_in_days"] for each in made if each["name"] == group]
    assert days == 30
    writing = {
        action
        for each in statements_of(defaults)
        if each.role == "sagemaker"
        for action in each.actions
        for resource in each.resources
        if resource.endswith((f":log-group:{group}", f":log-group:{group}:log-stream:*"))
    }
    assert writing == {"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"}


def test_batch_transform_needs_no_asynchronous_endpoint(defaults: Plan) -> None:
    granted = {
        (action, resource)
        for each in statements_of(defaults)
        if each.role == "sagemaker"
        for action in each.actions
        for resource in each.resources
    }
    settings = TransformSettings(sagemaker_model="any")
    for action, prefix in (
        ("s3:GetObject", settings.input_prefix),
        ("s3:PutObject", settings.output_prefix),
    ):
        folder = prefix.removesuffix("/transform")
        assert (action, f"arn:aws:s3:::{BUCKET}/{folder}/*") in granted


def test_each_role_trusts_one_caller_under_a_condition(everything: Plan, zero: Plan) -> None:
    def trust(plan: Plan, name: str) -> list[dict[str, Any]]:
        (role,) = [each for each in plan.of("aws_iam_role").values() if each["name"] == name]
        statements: list[dict[str, Any]] = json.loads(role["assume_role_policy"])["Statement"]
        return statements

    for service in SERVICES:
        pods = trust(everything, f"simcloud-{service}")[0]
        assert pods["Principal"] == {"Service": "pods.eks.amazonaws.com"}
        tags = pods["Condition"]["StringEquals"]
        assert tags["aws:RequestTag/kubernetes-service-account"] == service
        assert tags["aws:RequestTag/kubernetes-namespace"] == "simcloud"
        accounts = trust(zero, f"staging-{service}")[1]["Condition"]["StringEquals"]
        subject = f"system:serviceaccount:simcloud:{service}"
        assert subject in accounts.values()
    (github,) = trust(everything, "simcloud-github")
    conditions = github["Condition"]["StringEquals"]
    assert conditions["token.actions.githubusercontent.com:sub"] == (
        "repo:owner/name:environment:images"
    )
    for plan in (everything, zero):
        for role in plan.of("aws_iam_role").values():
            for each in json.loads(role["assume_role_policy"])["Statement"]:
                assert "*" not in json.dumps(each["Principal"]), role["name"]
                ec2 = each["Principal"] == {"Service": "ec2.amazonaws.com"}
                assert each.get("Condition") or ec2, role["name"]


def test_the_page_names_each_roles_actions_and_no_others(everything: Plan) -> None:
    page = (ROOT / "docs/deploy/iam.md").read_text(encoding="utf-8")
    named: dict[str, set[str]] = {}
    role = ""
    for line in page.splitlines():
        # A row with two columns after the role; one that names none is of the role above it.
        row = re.fullmatch(r"\| (?:`simcloud-([a-z-]+)` )?\| (`[a-z0-9]+:\w+`.*) \| [^|]+ \|", line)
        if row is None:
            continue
        role = row[1] or role
        named.setdefault(role, set()).update(re.findall(r"`([a-z0-9]+:\w+)`", row[2]))
    with_key = re.search(r"(`kms:[^|]*?) on that key too:\s+([\w, -]+)\.", page)
    assert with_key is not None
    for each in with_key[2].split(", "):
        named[each] |= set(re.findall(r"`([a-z0-9]+:\w+)`", with_key[1]))
    assert named == actions_of(everything)


def test_batch_jobs_name_roles_and_a_log_group_that_are_made(defaults: Plan) -> None:
    text = (ROOT / "deploy/batch/job-definition.json").read_text(encoding="utf-8")
    roles = {each["name"] for each in defaults.of("aws_iam_role").values()}
    assert set(re.findall(r":role/([a-z-]+)", text)) <= roles
    groups = {each["name"] for each in defaults.of("aws_cloudwatch_log_group").values()}
    assert set(re.findall(r'"awslogs-group": "([^"]+)"', text)) <= groups
