"""The plans of deploy/terraform, each made once for all tests and workers."""

from __future__ import annotations

import pytest

from support.terraform_plan import Plan, Workspace, workspace


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Workspace:
    base = tmp_path_factory.getbasetemp()
    # The folders of a run's workers are below one.
    return workspace((base if worker_id == "master" else base.parent) / "terraform")


@pytest.fixture(scope="session")
def defaults(terraform: Workspace) -> Plan:
    return terraform.plan("defaults")


@pytest.fixture(scope="session")
def everything(terraform: Workspace) -> Plan:
    return terraform.plan("everything")


@pytest.fixture(scope="session")
def zero(terraform: Workspace) -> Plan:
    return terraform.plan("zero")
