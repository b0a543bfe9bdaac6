"""deploy/terraform planned without an account: Terraform and its AWS provider, no network."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "deploy" / "terraform"
PLUGIN_DIR = "SIMCLOUD_TF_PLUGIN_DIR"
"""Folder with the provider, in Terraform's layout of a mirror. Without it Terraform looks where it
always does: its configuration's mirrors, its implied folders, the registry."""

INIT_S = 60
"""Longest time for finding the provider, seconds."""

_OFFLINE = """
provider "aws" {
  access_key                  = "none"
  secret_key                  = "none"
  allowed_account_ids         = null
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}
"""
"""Overrides the provider's block, so that nothing of AWS is asked."""


ACCOUNT = "000000000000"
BUCKET = "some-runs"
IMAGE = "registry.example/simcloud-model-container:1"
BASE: dict[str, Any] = {"account_id": ACCOUNT, "bucket": BUCKET}
EVERYTHING: dict[str, Any] = {
    **BASE,
    "kms": "existing",
    "kms_key_arn": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/one",
    "webapp_principals": [f"arn:aws:iam::{ACCOUNT}:role/web"],
    "webapp_origins": ["https://app.example.com"],
    "github_repository": "owner/name",
    "alert_emails": ["team@example.com"],
    "network_enabled": True,
    "nat_enabled": True,
    "interface_endpoints": ["sagemaker.runtime"],
    "cluster_enabled": True,
    "cluster_admins": [f"arn:aws:iam::{ACCOUNT}:role/platform"],
    "stop_idle_endpoints": True,
    "router_discovery": True,
    "inference_routers": {"fleet": [f"arn:aws:sagemaker:us-west-2:{ACCOUNT}:endpoint/west"]},
    "endpoints": {
        "steady": {
            "mode": "real-time",
            "image": IMAGE,
            "model_data_url": "s3://models/steady/1.tar.gz",
        },
        "queued": {"mode": "async", "image": IMAGE},
    },
}
ZERO: dict[str, Any] = {
    **BASE,
    "name": "staging",
    "kms": "create",
    "cluster_oidc_issuer": "oidc.eks.us-east-1.amazonaws.com/id/ABC",
    "endpoints": {
        "light": {"mode": "serverless", "image": IMAGE},
        "queued": {"mode": "async", "image": IMAGE, "instances_min": 0},
        "parts": {"mode": "component", "image": IMAGE, "instances_min": 0},
    },
}
SETS = {"defaults": BASE, "everything": EVERYTHING, "zero": ZERO}
SERVICES = {"uploader", "generator", "run", "inference-router"}
"""Services that have a role, as their service accounts and roles are called."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What Terraform would make of nothing."""

    resources: tuple[dict[str, Any], ...]
    """Each with `address`, `type` and `values`; values that AWS makes up are absent."""
    outputs: dict[str, Any]
    """Those that are known before anything is there, by name."""

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Values of the resources of a type, by address."""
        return {each["address"]: each["values"] for each in self.resources if each["type"] == kind}

    def one(self, kind: str) -> dict[str, Any]:
        """Values of the only resource of a type."""
        (values,) = self.of(kind).values()
        return values


@dataclass(frozen=True, slots=True)
class Workspace:
    """A copy of deploy/terraform, initialised; several processes may use one."""

    folder: Path

    def plan(self, name: str) -> Plan:
        """The plan for the variables of that name in `SETS`; made once."""
        shown = self.folder / f"{name}.json"
        with _locked(self.folder / ".lock"):
            if not shown.is_file():
                done = self.attempt(name, SETS[name])
                assert done.returncode == 0, done.stderr
                text = self.run("show", "-json", f"{name}.tfplan").stdout
                shown.write_text(text, encoding="utf-8")
        return _read(json.loads(shown.read_text(encoding="utf-8")))

    def attempt(self, name: str, variables: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Plans, whatever comes of it."""
        (self.folder / f"{name}.tfvars.json").write_text(json.dumps(variables), encoding="utf-8")
        options = ("-input=false", "-lock=false", "-refresh=false", "-no-color")
        return self.run(
            "plan", *options, f"-var-file={name}.tfvars.json", f"-out={name}.tfplan", ok=False
        )

    def run(
        self, *arguments: str, ok: bool = True, timeout_s: float = 100
    ) -> subprocess.CompletedProcess[str]:
        """Terraform in the folder `live`."""
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0 or not ok, done.stderr
        return done


def workspace(folder: Path) -> Workspace:
    """A copy of deploy/terraform in ``folder``, made by whoever comes first.

    Skips the test, with the reason, where Terraform can't run.
    """
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    made = Workspace(folder / "terraform" / "live")
    problem = folder / "problem"
    with _locked(folder / ".lock"):
        if not problem.is_file():
            _copy(folder)
            problem.write_text(_initialised(made), encoding="utf-8")
    if reason := problem.read_text(encoding="utf-8"):
        pytest.skip(f"{reason} ({PLUGIN_DIR} may name a folder with the provider)")
    return made


def _copy(folder: Path) -> None:
    ignored = shutil.ignore_patterns(".terraform*", "*_override.tf", "*.tfstate*", "*.tfplan")
    shutil.copytree(SOURCE, folder / "terraform", ignore=ignored)
    # Its policy and its lifecycle rules are read from there.
    shutil.copytree(ROOT / "deploy" / "s3", folder / "s3")
    override = folder / "terraform" / "live" / "offline_override.tf"
    override.write_text(_OFFLINE, encoding="utf-8")


def _initialised(made: Workspace) -> str:
    """Why `terraform init` did not do; empty: it did."""
    plugins = os.environ.get(PLUGIN_DIR)
    options = [f"-plugin-dir={plugins}"] if plugins else []
    command = ("init", "-input=false", "-no-color", *options)
    try:
        done = made.run(*command, ok=False, timeout_s=INIT_S)
    except subprocess.TimeoutExpired:
        return f"terraform init did not end within {INIT_S} s"
    if done.returncode != 0:
        return f"terraform finds no AWS provider: {' '.join(done.stderr.split())[-300:]}"
    return ""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among the processes of a test run."""
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _environment() -> dict[str, str]:
    """This process's, without credentials, variables and an absent file: they would change it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "TF_VAR_", "TF_CLI_ARGS"))
    }
    if not Path(kept.get("TF_CLI_CONFIG_FILE", "")).is_file():
        kept.pop("TF_CLI_CONFIG_FILE", None)
    # Reading the provider's schema is most of a plan; collecting less often takes a quarter off it.
    return {"GOGC": "400", **kept, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}


def _read(shown: dict[str, Any]) -> Plan:
    planned = shown["planned_values"]
    resources: list[dict[str, Any]] = []
    modules = [planned["root_module"]]
    while modules:
        module = modules.pop()
        resources += module.get("resources", [])
        modules += module.get("child_modules", [])
    outputs = {
        name: output["value"] for name, output in planned["outputs"].items() if "value" in output
    }
    return Plan(tuple(resources), outputs)
