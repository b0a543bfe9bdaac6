"""deploy/terraform, planned: what it makes, and that nothing costs by the hour unless asked for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml

from simcloud_inference_router.target_entry import TargetEntry
from support.setting_names import ALL_VARIABLES
from support.terraform_plan import (
    ACCOUNT,
    BUCKET,
    IMAGE,
    ROOT,
    SERVICES,
    SETS,
    SOURCE,
    Plan,
    Workspace,
)


def test_what_is_made_without_asking_costs_nothing_to_have(defaults: Plan) -> None:
    assert {each["type"] for each in defaults.resources} == {
        "aws_budgets_budget",
        "aws_cloudwatch_log_group",
        "aws_ecr_lifecycle_policy",
        "aws_ecr_repository",
        "aws_iam_role",
        "aws_iam_role_policy",
        "aws_s3_bucket",
        "aws_s3_bucket_lifecycle_configuration",
        "aws_s3_bucket_ownership_controls",
        "aws_s3_bucket_policy",
        "aws_s3_bucket_public_access_block",
        "aws_s3_bucket_server_side_encryption_configuration",
        "aws_s3_bucket_versioning",
        "aws_sns_topic",
        "aws_sns_topic_policy",
        "terraform_data",
    }


def test_the_bucket_is_private_encrypted_and_without_versions(
    defaults: Plan, everything: Plan, zero: Plan
) -> None:
    for plan in (defaults, everything, zero):
        block = plan.one("aws_s3_bucket_public_access_block")
        assert all(value for field, value in block.items() if field.startswith(("block", "ignore")))
        assert block["restrict_public_buckets"]
        (versioning,) = plan.one("aws_s3_bucket_versioning")["versioning_configuration"]
        assert versioning["status"] == "Disabled"
        (owner,) = plan.one("aws_s3_bucket_ownership_controls")["rule"]
        assert owner["object_ownership"] == "BucketOwnerEnforced"
        assert plan.one("aws_s3_bucket")["force_destroy"] is False

    def encryption(plan: Plan) -> tuple[str, bool]:
        (rule,) = plan.one("aws_s3_bucket_server_side_encryption_configuration")["rule"]
        (default,) = rule["apply_server_side_encryption_by_default"]
        return default["sse_algorithm"], rule["bucket_key_enabled"]

    assert encryption(defaults) == ("AES256", False)
    assert encryption(everything) == encryption(zero) == ("aws:kms", True)
    assert zero.one("aws_kms_key")["enable_key_rotation"]
    (rule,) = everything.one("aws_s3_bucket_cors_configuration")["cors_rule"]
    assert rule["allowed_origins"] == ["https://app.example.com"]


def test_the_bucket_denies_what_the_repository_s_policy_denies(defaults: Plan, zero: Plan) -> None:
    text = (ROOT / "deploy/s3/bucket-policy.json").read_text(encoding="utf-8")
    theirs = json.loads(text.replace("BUCKET", BUCKET).replace("ACCOUNT", ACCOUNT))["Statement"]
    denials = {each["Sid"]: each for each in theirs if each["Effect"] == "Deny"}
    assert set(denials) == {"OnlyOverTls", "CommittedDataIsNeverReplaced"}
    for plan, name in ((defaults, "simcloud"), (zero, "staging")):
        ours = json.loads(plan.one("aws_s3_bucket_policy")["policy"])["Statement"]
        writers = [f"arn:aws:iam::{ACCOUNT}:role/{name}-{role}" for role in ("uploader", "run")]
        expected = [dict(each) for each in denials.values()]
        expected[1]["Principal"] = {"AWS": writers}
        assert ours == expected


def test_lifecycle_rules_are_the_repository_s_and_those_of_what_is_no_run(defaults: Plan) -> None:
    rules = {
        each["id"]: each for each in defaults.one("aws_s3_bucket_lifecycle_configuration")["rule"]
    }
    file = json.loads((ROOT / "deploy/s3/lifecycle.json").read_text(encoding="utf-8"))["Rules"]
    abandoned, old = (rules.pop(each["ID"]) for each in file)
    days = file[0]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
    assert abandoned["abort_incomplete_multipart_upload"] == [{"days_after_initiation": days}]
    (kept,) = old["noncurrent_version_expiration"]
    assert kept["noncurrent_days"] == file[1]["NoncurrentVersionExpiration"]["NoncurrentDays"]
    expiring = {
        each["filter"][0]["prefix"]: each["expiration"][0]["days"] for each in rules.values()
    }
    assert expiring == {"uploads/": 30, "async/in/": 2, "async/out/": 7}


def test_images_are_those_of_the_manifests(defaults: Plan) -> None:
    repositories = defaults.of("aws_ecr_repository").values()
    names = {each["name"].removeprefix("simcloud/") for each in repositories}
    wanted: set[str] = set()
    for path in (ROOT / "deploy" / "k8s").rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        wanted |= set(re.findall(r"\b(?:image|name|newName): (simcloud-[a-z-]+)", text))
    images = {each for each in wanted if each in names or each.startswith("simcloud-generator")}
    assert names == images | {"simcloud-cli", "simcloud-model-container"}
    for each in repositories:
        assert each["image_tag_mutability"] == "IMMUTABLE"
        assert each["image_scanning_configuration"] == [{"scan_on_push": True}]


def test_endpoints_are_of_the_mode_that_was_asked_for(everything: Plan, zero: Plan) -> None:
    configurations = {
        address.split('"')[1]: each
        for plan in (everything, zero)
        for address, each in plan.of("aws_sagemaker_endpoint_configuration").items()
    }
    assert set(configurations) == {"steady", "queued", "light"}
    (steady,) = configurations["steady"]["production_variants"]
    assert steady["routing_config"] == [{"routing_strategy": "LEAST_OUTSTANDING_REQUESTS"}]
    (light,) = configurations["light"]["production_variants"]
    assert light["serverless_config"][0]["memory_size_in_mb"] == 3072
    assert light["instance_type"] is None
    (queue,) = configurations["queued"]["async_inference_config"]
    (output,) = queue["output_config"]
    assert output["s3_output_path"] == f"s3://{BUCKET}/async/out/queued"
    assert len(everything.of("aws_sagemaker_model")) == 2
    assert {each["name"] for each in zero.of("aws_sns_topic").values()} == {
        "staging-alerts",
        "staging-async-done",
        "staging-async-failed",
    }
    updates = everything.of("aws_sagemaker_endpoint")
    (deployment,) = updates['module.sagemaker.aws_sagemaker_endpoint.endpoint["steady"]'][
        "deployment_config"
    ]
    (alarms,) = deployment["auto_rollback_configuration"]
    watched = {each["alarm_name"] for each in alarms["alarms"]}
    assert watched == {"simcloud-steady-5xx", "simcloud-steady-latency"}


def test_a_component_s_template_is_what_sagemaker_takes(zero: Plan) -> None:
    template = json.loads(zero.one("aws_cloudformation_stack")["template_body"])
    # The model's name is in it, which is known: nothing of the template waits for AWS.
    model = botocore.session.get_session().get_service_model("sagemaker")
    operations = {
        "AWS::SageMaker::EndpointConfig": "CreateEndpointConfig",
        "AWS::SageMaker::Endpoint": "CreateEndpoint",
        "AWS::SageMaker::InferenceComponent": "CreateInferenceComponent",
    }
    resources = template["Resources"].values()
    assert {each["Type"] for each in resources} == set(operations)
    for each in resources:
        shape = model.operation_model(operations[each["Type"]]).input_shape
        assert unknown_fields(each["Properties"], shape) == []
    (variant,) = template["Resources"]["Config"]["Properties"]["ProductionVariants"]
    assert variant["ManagedInstanceScaling"]["MinInstanceCount"] == 0
    assert "ModelName" not in variant


def unknown_fields(value: Any, shape: Any) -> list[str]:
    """Names in ``value`` that AWS's model of the request doesn't have."""
    if shape.type_name == "structure" and isinstance(value, dict):
        wrong = [name for name in value if name not in shape.members]
        inner = [(each, shape.members[name]) for name, each in value.items() if name not in wrong]
        return wrong + [name for each, member in inner for name in unknown_fields(each, member)]
    if shape.type_name == "list" and isinstance(value, list):
        return [name for each in value for name in unknown_fields(each, shape.member)]
    return []


def test_endpoints_scale_by_the_metric_of_ten_seconds_and_to_zero(
    everything: Plan, zero: Plan
) -> None:
    def metrics(plan: Plan) -> set[str]:
        found = set()
        for each in plan.of("aws_appautoscaling_policy").values():
            for tracking in each["target_tracking_scaling_policy_configuration"]:
                for metric in tracking["predefined_metric_specification"]:
                    found.add(metric["predefined_metric_type"])
                for metric in tracking["customized_metric_specification"]:
                    found.add(metric["metric_name"])
        return found

    assert metrics(everything) == {
        "SageMakerVariantConcurrentRequestsPerModelHighResolution",
        "ApproximateBacklogSizePerInstance",
    }
    assert "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution" in metrics(zero)
    least = {each["min_capacity"] for each in zero.of("aws_appautoscaling_target").values()}
    assert least == {0}
    waking = {
        each["metric_name"]
        for each in zero.of("aws_cloudwatch_metric_alarm").values()
        if each["alarm_name"].endswith("-wake")
    }
    # From zero nothing is there to be measured: each has an alarm that starts the first.
    assert waking == {"HasBacklogWithoutCapacity", "NoCapacityInvocationFailures"}
    assert not any(
        "wake" in each["alarm_name"]
        for each in everything.of("aws_cloudwatch_metric_alarm").values()
    )


def test_every_endpoint_has_its_alarms_and_each_tells_someone(everything: Plan, zero: Plan) -> None:
    def alarms(plan: Plan) -> set[str]:
        return {each["alarm_name"] for each in plan.of("aws_cloudwatch_metric_alarm").values()}

    always = {"5xx", "latency", "not-ready"}
    expected = {f"simcloud-{key}-{kind}" for key in ("steady", "queued") for kind in always}
    expected |= {
        f"simcloud-{key}-{kind}" for key in ("steady", "queued") for kind in ("idle", "queue")
    }
    assert alarms(everything) == expected
    # What has no instance while idle is not told to be idle.
    assert not any(name.endswith("-idle") for name in alarms(zero))
    assert {f"staging-{key}-{kind}" for key in ("light", "queued", "parts") for kind in always} < (
        alarms(zero)
    )
    assert "staging-parts-no-capacity" in alarms(zero)
    (rule,) = [
        each
        for address, each in everything.of("aws_cloudwatch_event_rule").items()
        if "stop_idle" in address
    ]
    idle = json.loads(rule["event_pattern"])["detail"]["alarmName"]
    assert idle == ["simcloud-queued-idle", "simcloud-steady-idle"]
    widgets = json.loads(everything.one("aws_cloudwatch_dashboard")["dashboard_body"])["widgets"]
    assert len(widgets) >= 5


def test_logs_end_and_money_is_watched(defaults: Plan, everything: Plan) -> None:
    groups = everything.of("aws_cloudwatch_log_group").values()
    assert all(each["retention_in_days"] == 30 for each in groups)
    names = {each["name"] for each in groups}
    assert {"/aws/sagemaker/Endpoints/simcloud-steady", "/aws/eks/simcloud/cluster"} < names
    budget = defaults.one("aws_budgets_budget")
    assert budget["time_unit"] == "MONTHLY"
    told = {(each["notification_type"], each["threshold"]) for each in budget["notification"]}
    assert told == {("ACTUAL", 50), ("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)}


def test_the_cluster_is_what_the_manifests_name(everything: Plan) -> None:
    associations = {
        each["service_account"]: each["namespace"]
        for each in everything.of("aws_eks_pod_identity_association").values()
    }
    assert associations == {**dict.fromkeys(SERVICES, "simcloud"), "karpenter": "kube-system"}
    roles = {each["name"] for each in everything.of("aws_iam_role").values()}
    for component in ("cpu-nodes", "isaac-gpu"):
        path = ROOT / "deploy/k8s/components" / component / "node-pool.yaml"
        items = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        (node_class,) = [each for each in items if each["kind"] == "EC2NodeClass"]
        assert node_class["spec"]["role"] in roles
        (term,) = node_class["spec"]["subnetSelectorTerms"]
        found = [
            address
            for address, each in everything.of("aws_subnet").items()
            if (each["tags"] or {}).items() >= term["tags"].items()
        ]
        assert len(found) == 2
        assert all(".private[" in address for address in found)
    # What overlays/eks asks of a cluster: policies that are enforced, roles, metrics.
    addons = {each["addon_name"] for each in everything.of("aws_eks_addon").values()}
    assert {"vpc-cni", "eks-pod-identity-agent", "coredns", "metrics-server"} <= addons
    cluster = everything.one("aws_eks_cluster")
    assert cluster["vpc_config"][0]["endpoint_public_access"] is False


@pytest.mark.parametrize("name", SETS)
def test_outputs_are_settings_of_the_code(terraform: Workspace, name: str) -> None:
    outputs = terraform.plan(name).outputs
    variables = dict(outputs["cli_environment"])
    for service in outputs["service_environment"].values():
        variables |= service
    assert variables.keys() <= ALL_VARIABLES
    targets = {
        key: TargetEntry.model_validate(each) for key, each in outputs["router_targets"].items()
    }
    assert set(targets) == set(SETS[name].get("endpoints", {}))


def test_the_page_names_every_output_and_every_variable() -> None:
    page = (ROOT / "docs/deploy/aws.md").read_text(encoding="utf-8")
    for file, kind in (("outputs.tf", "output"), ("variables.tf", "variable")):
        text = (SOURCE / "live" / file).read_text(encoding="utf-8")
        for name in re.findall(rf'^{kind} "(\w+)"', text, flags=re.MULTILINE):
            assert f"`{name}`" in page, f"{kind} {name}"


def test_what_cannot_work_is_refused_with_a_reason(terraform: Workspace) -> None:
    done = terraform.attempt(
        "wrong",
        {
            "name": "Simcloud",
            "account_id": "12",
            "bucket": "a.b",
            "prefixes": {"runs": "a", "uploads": "a/b"},
            "kms": "existing",
            "github_repository": "owner/*",
            "webapp_principals": ["arn:aws:iam::000000000000:role/*"],
            "cluster_enabled": True,
            "cluster_public_cidrs": ["0.0.0.0/0"],
            "endpoints": {"one": {"mode": "real-time", "image": IMAGE, "instances_min": 0}},
            "inference_routers": {"*": [f"arn:aws:sagemaker:us-west-2:{ACCOUNT}:endpoint/west"]},
        },
    )
    assert done.returncode != 0
    told = " ".join(done.stderr.replace("│", " ").split())
    for reason in (
        "name has 3 to 20",
        "account_id is 12 digits",
        "no dots",
        "No prefix may be below another",
        "kms_key_arn goes with kms = existing",
        "github_repository is owner/name",
        "webapp_principals are ARNs of roles",
        "cluster_enabled needs network_enabled",
        "the whole internet is none",
        "A real-time endpoint cannot scale to zero",
        "The keys of inference_routers are names",
    ):
        assert reason in told


def test_files_are_formatted_described_and_pinned() -> None:
    modules = [SOURCE / "live", *sorted((SOURCE / "modules").iterdir())]
    assert len(modules) == 8
    for module in modules:
        assert 'version = "= 5.100.0"' in (module / "versions.tf").read_text(encoding="utf-8")
        for path in sorted(module.glob("*.tf")):
            text = path.read_text(encoding="utf-8")
            blocks = re.findall(r'^(?:variable|output) "(\w+)" \{\n(.*?)^\}', text, re.M | re.S)
            for name, block in blocks:
                assert re.search(r"^  description\s+= ", block, re.M), f"{path}: {name}"
            assert not re.search(r"\b(?!0{12})\d{12}\b", text), path
            assert ".dkr.ecr." not in text, path
            assert not re.search(r'^data "', text, re.M), path
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    command = ["terraform", "fmt", "-check", "-recursive", str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", ["aws_s3_bucket", "aws_kms_key"])
def test_what_holds_data_is_not_destroyed(kind: str) -> None:
    text = Path(SOURCE / "modules/storage/main.tf").read_text(encoding="utf-8")
    (block,) = re.findall(rf'^resource "{kind}" "\w+" \{{\n(.*?)^\}}', text, re.M | re.S)
    assert "prevent_destroy = true" in block
