"""GitHub's workflows: pinned, bounded, with the least they need, and naming only what there is.

`make workflows` checks their syntax, the shell in them and what zizmor knows; here is what only
this repository can say.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from simcloud_cli.commands.endpoint import app as endpoint_app

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
PAGE = ROOT / "docs" / "deploy" / "github-actions.md"
USES = re.compile(r"uses: (\S+?)@(\S+)(?: # (\S+))?")
MAY_WRITE = {
    ("deploy", "plan"): {"id-token"},
    ("deploy", "apply"): {"id-token"},
    ("endpoint", "deploy"): {"id-token"},
    ("endpoint", "plan"): {"id-token"},
    ("images", "push"): {"attestations", "id-token"},
    ("images", "push-isaac"): {"attestations", "id-token"},
    ("release", "draft"): {"attestations", "contents", "id-token"},
    ("sync", "sync"): {"id-token"},
}
"""What a job may do besides reading the code; whoever adds to it says why in the workflow."""


def load(path: Path) -> dict[str, Any]:
    # BaseLoader: `on` stays a word, and everything else is text too.
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert isinstance(content, dict)
    return content


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found = load(path)["jobs"]
    assert isinstance(found, dict)
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    """Of a workflow's jobs, or of an action."""
    content = load(path)
    if "runs" in content:
        return list(content["runs"]["steps"])
    return [step for job in content["jobs"].values() for step in job.get("steps", [])]


def named(path: Path) -> str:
    return path.parent.name if path.name == "action.yml" else path.stem


EVERY_WORKFLOW = pytest.mark.parametrize("path", WORKFLOWS, ids=named)
EVERY_FILE = pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=named)


@EVERY_WORKFLOW
def test_a_workflow_may_read_the_code_and_a_job_only_what_is_listed(path: Path) -> None:
    assert load(path)["permissions"] == {"contents": "read"}
    for name, job in jobs(path).items():
        granted = job.get("permissions", {})
        assert isinstance(granted, dict), f"{name}: name what it may"
        writes = {scope for scope, access in granted.items() if access != "read"}
        assert writes == MAY_WRITE.get((path.stem, name), set()), name


def test_what_is_listed_to_write_is_there() -> None:
    there = {(path.stem, name) for path in WORKFLOWS for name in jobs(path)}
    assert set(MAY_WRITE) <= there


@EVERY_WORKFLOW
def test_a_job_ends_and_runs_beside_others_only_where_that_is_meant(path: Path) -> None:
    assert load(path)["concurrency"]["group"]
    for name, job in jobs(path).items():
        if "uses" not in job:  # what is called has limits of its own
            assert 0 < int(job["timeout-minutes"]) <= 180, name


@EVERY_WORKFLOW
def test_no_event_gives_a_strangers_code_this_repositorys_rights(path: Path) -> None:
    events = load(path)["on"]
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(events)
    if "pull_request" not in events:
        return
    for name, job in jobs(path).items():
        if "id-token" in job.get("permissions", {}):
            own = "head.repo.full_name == github.repository"
            never = ("github.event_name == 'push'", "github.event_name != 'pull_request'")
            assert own in job["if"] or job["if"].startswith(never), name


@EVERY_FILE
def test_what_others_wrote_is_pinned_by_commit_and_says_its_version(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(re.findall(r"uses: (?!\$/)", text)) == len(USES.findall(text))
    for action, commit, version in USES.findall(text):
        assert re.fullmatch(r"[0-9a-f]{40}", commit), f"{action}@{commit}"
        assert re.fullmatch(r"v\d+\.\d+\.\d+", version), f"{action}: which version is that?"


def test_an_action_has_one_version_which_the_page_lists() -> None:
    used = {
        (action, version, commit)
        for path in [*WORKFLOWS, *ACTIONS]
        for action, commit, version in USES.findall(path.read_text(encoding="utf-8"))
    }
    assert len({action for action, _, _ in used}) == len(used)
    row = re.compile(r"^\| `([\w./-]+)` \| (v[\d.]+) \| `([0-9a-f]{40})` \|", re.MULTILINE)
    assert set(row.findall(PAGE.read_text(encoding="utf-8"))) == used


@EVERY_FILE
def test_a_checkout_leaves_no_token_behind(path: Path) -> None:
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


@EVERY_FILE
def test_targets_and_files_that_are_named_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = path.read_text(encoding="utf-8")
    scripts = [step.get("run", "") for step in steps(path)]
    made = {name for each in scripts for name in re.findall(r"\bmake ([a-z-]+)", each)}
    made |= {name for job in load(path).get("jobs", {}).values() for name in _matrix_targets(job)}
    assert made <= targets
    files = re.findall(r"(?<![\w/.])((?:\.github|deploy|docs|packages|scripts)/[\w./-]*\w)", text)
    files += re.findall(r"dockerfile: ([^\s},$]+)", text)
    assert [name for name in files if not (ROOT / name).exists()] == []
    for trigger in load(path).get("on", {}).values() if "on" in load(path) else ():
        for pattern in (trigger or {}).get("paths", []) if isinstance(trigger, dict) else ():
            assert list(ROOT.glob(pattern)), f"nothing matches {pattern}"


def _matrix_targets(job: dict[str, Any]) -> list[str]:
    matrix = job.get("strategy", {}).get("matrix", {})
    return [
        *matrix.get("target", []),
        *(item["target"] for item in matrix.get("include", []) if "target" in item),
    ]


def test_every_image_of_compose_is_scanned_and_all_but_the_laptops_s3_are_pushed() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    built = {
        name: service["build"]["dockerfile"]
        for name, service in compose["services"].items()
        if "build" in service
    }
    found = jobs(GITHUB / "workflows" / "images.yml")
    (isaac,) = (step["with"] for step in found["push-isaac"]["steps"] if step.get("id") == "image")
    images = {
        job: {
            item["name"]: item["dockerfile"] for item in found[job]["strategy"]["matrix"]["include"]
        }
        for job in ("scan", "push")
    }
    assert images["scan"] | {isaac["name"]: isaac["dockerfile"]} == built
    assert images["scan"] == images["push"] | {"s3": built["s3"]}


def test_terraform_has_a_repository_for_each_image_that_is_pushed() -> None:
    found = jobs(GITHUB / "workflows" / "images.yml")
    pushed = {item["name"] for item in found["push"]["strategy"]["matrix"]["include"]}
    text = (ROOT / "deploy/terraform/live/main.tf").read_text(encoding="utf-8")
    (block,) = re.findall(r"images = toset\(\[(.*?)\]\)", text, re.DOTALL)
    assert set(re.findall(r'"simcloud-([a-z0-9-]+)"', block)) == pushed | {"generator-isaac"}


def test_only_what_somebody_approved_is_applied() -> None:
    apply = jobs(GITHUB / "workflows" / "deploy.yml")["apply"]
    assert apply["environment"] == "production"
    assert "github.ref == 'refs/heads/main'" in apply["if"]
    scripts = [step.get("run", "") for step in apply["steps"]]
    (compared,) = (number for number, run in enumerate(scripts) if "$APPROVED" in run)
    (applied,) = (number for number, run in enumerate(scripts) if "/live apply " in run)
    assert compared < applied
    assert apply["steps"][compared]["env"]["APPROVED"] == "${{ needs.plan.outputs.sha256 }}"
    assert scripts[applied].endswith('"$GITHUB_WORKSPACE/plan"')


def test_an_endpoint_is_made_by_options_that_the_command_has_once_its_plan_was_approved() -> None:
    command = typer.main.get_command(endpoint_app)
    assert isinstance(command, TyperGroup)
    known = {option for each in command.commands["deploy"].params for option in each.opts}
    found = jobs(GITHUB / "workflows" / "endpoint.yml")
    asked = {
        name: next(step for step in job["steps"] if "endpoint deploy" in step.get("run", ""))
        for name, job in found.items()
    }
    for step in asked.values():
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", step["run"])) <= known
    assert "--plan " in asked["plan"]["run"]
    assert "--plan " not in asked["deploy"]["run"]
    # The same options, and what they came to when somebody approved it.
    approved = {"APPROVED": "${{ needs.plan.outputs.digest }}"}
    assert asked["plan"]["env"] | approved == asked["deploy"]["env"]
    assert '--plan-digest "${APPROVED:?' in asked["deploy"]["run"]
    assert found["plan"]["outputs"] == {"digest": "${{ steps.plan.outputs.digest }}"}
    waits = [re.findall(r"--wait-minutes \d+", step["run"]) for step in asked.values()]
    assert waits[0] == waits[1] != []
    assert found["deploy"]["needs"] == "plan"
    assert found["deploy"]["environment"] == "production"


def test_nothing_is_pushed_before_it_was_scanned() -> None:
    order = [
        step.get("id", step.get("name")) for step in steps(GITHUB / "actions/image/action.yml")
    ]
    assert order.index("Build") < order.index("scan") < order.index("push")
    by_id = {step.get("id"): step for step in steps(GITHUB / "actions/image/action.yml")}
    assert by_id["scan"].get("continue-on-error") is None
    assert by_id["push"]["with"]["sbom"] == "true"
    assert by_id["push"]["with"]["provenance"] == "mode=max"


def test_the_page_says_what_every_variable_and_environment_is_for() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        assert "secrets." not in text, f"{path.name}: roles are taken by OIDC"
        names = set(re.findall(r"\bvars\.(\w+)", text))
        names |= set(re.findall(r"^    environment: (\w+)", text, re.MULTILINE))
        assert [name for name in sorted(names) if f"`{name}`" not in page] == [], path.name
        assert f"`{path.name}`" in page
