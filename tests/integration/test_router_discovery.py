"""Endpoints that become the router's targets by their tags, and leave it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from simcloud.errors import NotFound, NotReady
from simcloud.telemetry import metrics
from simcloud_inference_router.discovery.metrics import (
    CONFLICTS,
    FAILING,
    LOOKED_AT,
    LOOKS,
    TARGETS,
)
from support.aws_site import AwsError, AwsSite, aws_site
from support.eventually import eventually
from support.router import RunningRouter, infer, model, running_router, settings_for, write_catalog
from support.scripted_endpoint import Reply, ScriptedEndpoint, scripted_endpoint

ANSWER = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
OFTEN: dict[str, object] = {"every_s": 0.02, "drain_s": 0.1}


def det(*targets: str, **changes: Any) -> dict[str, object]:
    described = [{"name": name, "kind": "sagemaker", "endpoint": name} for name in targets]
    return model(targets=described, tensor_codec="json_v2", **changes)


@dataclass(frozen=True, slots=True)
class Stand:
    """A router, its endpoints and the AWS that knows them."""

    router: RunningRouter
    endpoint: ScriptedEndpoint
    catalog: Path

    def targets(self, name: str = "det") -> dict[str, float]:
        """Weights of a model's targets."""
        served = self.router.router.models.get(name)
        return {} if served is None else {each.name: each.weight for each in served.targets}

    async def infer(self) -> None:
        """One request to ``det``."""
        await infer(self.router)

    async def looked(self, times: int = 2) -> None:
        """Until so many more looks have ended well: all of the last began after this call."""
        looks = self.router.reloader.discovery.looks
        before = looks["found"]
        await eventually(lambda: looks["found"] >= before + times)


@asynccontextmanager
async def stand(
    folder: Path, aws: AwsSite, *models: object, discovery: dict[str, object] | None = None
) -> AsyncIterator[Stand]:
    catalog = write_catalog(folder, *models, discovery=discovery)
    async with AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(scripted_endpoint())
        endpoint.default = Reply(body=ANSWER)
        settings = settings_for(
            catalog,
            endpoint.url,
            catalog_poll_s=0,
            admins=("anonymous",),
            discovery_endpoint_url=aws.url,
        )
        router = await stack.enter_async_context(running_router(settings))
        yield Stand(router, endpoint, catalog)


@pytest.fixture
async def aws() -> AsyncIterator[AwsSite]:
    async with aws_site() as site:
        yield site


async def fails(looks: dict[str, int], outcome: str) -> None:
    """Until one more look has failed so."""
    before = looks[outcome]
    await eventually(lambda: looks[outcome] > before)


async def test_tagged_endpoints_of_all_pages_are_targets_from_the_first_request_on(
    tmp_path: Path, aws: AwsSite
) -> None:
    aws.page = 2
    for number in range(3):
        aws.tag(f"Det-{number}", "det", weight=str(number + 1))
    aws.tag("det-slow", "det", tier="1", codec="json_v2", status="Updating")
    aws.tag("det-new", "det", status="Creating")
    aws.tag("det-failed", "det", status="Failed")
    aws.tag("other")
    async with stand(tmp_path, aws, det("written"), discovery=OFTEN) as at:
        await at.infer()
        assert at.targets() == {"written": 1, "Det-0": 1, "Det-1": 2, "Det-2": 3, "det-slow": 1}
        tiers = {each.name: each.entry.tier for each in at.router.router.models["det"].targets}
        assert (tiers["Det-0"], tiers["det-slow"]) == (0, 1)
        assert aws.asked[:7] == [*["GetResources"] * 3, *["ListEndpoints"] * 4]
        assert metrics.value_of(TARGETS) == 4
        assert metrics.value_of(LOOKED_AT) > 1.7e9
        aws.endpoints["det-new"].status = "InService"
        await eventually(lambda: "det-new" in at.targets())
        assert (await at.router.admin.targets()).discovery_problems == ()


async def test_a_model_may_live_of_found_endpoints_alone(tmp_path: Path, aws: AwsSite) -> None:
    defaults = {"model": {**det(), "max_batch_size": 0}}
    for field in ("name", "targets", "digest"):
        del defaults["model"][field]
    aws.tag("seg-a", "seg", digest="a" * 64, codec="npy")
    aws.tag("nameless", "nothing-is-known")
    async with stand(tmp_path, aws, det(), discovery={**OFTEN, "defaults": defaults}) as at:
        with pytest.raises(NotFound, match="the catalogue has: seg"):
            await at.infer()
        assert at.targets("seg") == {"seg-a": 1}
        entry = at.router.router.models["seg"].entry
        assert (entry.digest, entry.tensor_codec) == ("a" * 64, "npy")
        problems = (await at.router.admin.targets()).discovery_problems
        assert "endpoint nameless is left out: digest: Field required" in problems
        assert "model det has no target: no endpoint is tagged for it" in problems
        assert metrics.value_of(CONFLICTS) == 2
        aws.tag("det-a", "det")
        await eventually(lambda: at.targets() == {"det-a": 1})
        await at.infer()
        assert at.endpoint.seen[-1].path == "/endpoints/det-a/invocations"


async def test_an_endpoint_that_goes_is_drained_and_what_is_there_ends(
    tmp_path: Path, aws: AwsSite
) -> None:
    aws.tag("det-a", "det")
    async with stand(tmp_path, aws, det(), discovery={**OFTEN, "drain_s": 3600}) as at:
        at.endpoint.hold = asyncio.Event()
        first = asyncio.ensure_future(at.infer())
        await eventually(lambda: at.endpoint.in_flight == 1)
        aws.endpoints["det-a"].status = "Deleting"
        await eventually(lambda: at.targets() == {"det-a": 0})
        (target,) = (await at.router.admin.targets()).targets
        assert (target.state, target.in_flight, target.catalog_weight) == ("draining", 1, 0)
        with pytest.raises(NotReady, match="is drained"):
            await at.infer()
        del aws.endpoints["det-a"]
        await at.looked()
        at.endpoint.hold.set()
        await first
        assert (await at.router.admin.targets()).targets[0].state == "drained"
        aws.tag("det-a", "det", weight="2")
        await eventually(lambda: at.targets() == {"det-a": 2})
        await at.infer()


async def test_a_drained_endpoint_is_forgotten_after_its_time(tmp_path: Path, aws: AwsSite) -> None:
    aws.tag("det-a", "det")
    async with stand(tmp_path, aws, det("written"), discovery=OFTEN) as at:
        assert at.targets() == {"written": 1, "det-a": 1}
        aws.tag("det-a")
        await eventually(lambda: at.targets() == {"written": 1, "det-a": 0})
        await eventually(lambda: at.targets() == {"written": 1})
        assert metrics.value_of(TARGETS) == 0


async def test_aws_failing_keeps_what_was_found_and_is_told(
    tmp_path: Path, aws: AwsSite, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.tag("det-a", "det")
    failures = [
        (AwsError("GetResources", "AccessDeniedException"), "denied", "tag:GetResources on"),
        (AwsError("ListEndpoints", "AccessDeniedException"), "denied", "sagemaker:ListEndpoints"),
        (AwsError("GetResources", "ThrottledException"), "throttled", "every_s"),
        (AwsError("ListEndpoints", "ThrottlingException"), "throttled", "every_s"),
        (AwsError("GetResources", "InternalServiceException", status=500), "failed", "HTTP 500"),
        (AwsError("GetResources", "ExpiredTokenException"), "failed", "the credentials"),
    ]
    async with stand(tmp_path, aws, det(), discovery=OFTEN) as at:
        looks = at.router.reloader.discovery.looks
        for error, outcome, problem in failures:
            aws.failing = error
            await fails(looks, outcome)
            # None of those looks that began before: this one nobody must see.
            aws.endpoints["det-a"].status = "Deleting"
            await fails(looks, outcome)
            (told,) = (await at.router.admin.targets()).discovery_problems
            assert problem in told
            assert metrics.value_of(FAILING) == 1
            assert metrics.value_of(LOOKS, {"outcome": outcome}) >= 2
            assert at.targets() == {"det-a": 1}
            aws.endpoints["det-a"].status, aws.failing = "InService", None
            await at.looked(1)
            assert metrics.value_of(FAILING) == 0
    log = capsys.readouterr().err
    assert log.count("looking for endpoints failed") == len(failures), "each once"


async def test_a_router_starts_without_aws_and_serves_what_is_written(tmp_path: Path) -> None:
    async with aws_site() as closed:
        pass
    async with stand(tmp_path, closed, det("written"), discovery=OFTEN) as at:
        await at.infer()
        (told,) = (await at.router.admin.targets()).discovery_problems
        assert "tag:GetResources had no answer" in told


async def test_aws_is_asked_only_while_the_catalogue_says_so(tmp_path: Path, aws: AwsSite) -> None:
    aws.tag("det-a", "det", env="prod")
    aws.tag("det-b", "det", env="test")
    async with stand(tmp_path, aws, det("written")) as at:
        assert aws.asked == []
        assert "simcloud_router_discovery" not in metrics.exposition().decode()

        # Turned on while it serves.
        tags = {"simcloud:env": "prod"}
        write_catalog(tmp_path, det("written"), discovery={**OFTEN, "tags": tags})
        await at.router.admin.reload_catalog()
        await eventually(lambda: at.targets() == {"written": 1, "det-a": 1})

        # Another question.
        tags = {"simcloud:env": "test"}
        write_catalog(tmp_path, det("written"), discovery={**OFTEN, "tags": tags})
        await at.router.admin.reload_catalog()
        await eventually(lambda: at.targets() == {"written": 1, "det-b": 1})

        # And off: what was found goes with the section.
        at.catalog.write_text(yaml.safe_dump({"models": [det("written")]}))
        change = await at.router.admin.reload_catalog()
        assert (change.changed, at.targets()) == (("det",), {"written": 1})
        asked = len(aws.asked)
        await at.infer()
        assert len(aws.asked) <= asked + 2, "a look that was under way ends"


async def test_what_is_written_wins_and_the_difference_is_told(
    tmp_path: Path, aws: AwsSite
) -> None:
    aws.tag("det-a", "det", weight="3")
    aws.tag("det-b", "det", codec="npy")
    aws.tag("det-c", "det", weight="heavy")
    async with stand(tmp_path, aws, det("det-a"), discovery=OFTEN) as at:
        assert at.targets() == {"det-a": 1}
        problems = "\n".join((await at.router.admin.targets()).discovery_problems)
        assert "det-a is left out: its tag says weight 3; the catalogue says 1 and wins" in problems
        assert "det-b is left out: its tag simcloud:codec is npy; model det has json_v2" in problems
        assert "endpoint det-c is left out: as a target it is not valid: weight" in problems
