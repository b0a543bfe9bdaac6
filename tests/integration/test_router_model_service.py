"""What the protocol's questions about a model are answered: counts, readiness, configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simcloud.errors import NotReady
from simcloud.oip.pool import OipMessage
from simcloud.oip.tensors import new
from support.router import (
    RunningRouter,
    infer,
    model,
    row_request,
    running_router,
    settings_for,
    write_catalog,
)
from support.scripted_endpoint import Reply, ScriptedEndpoint, scripted_endpoint

ANSWER = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.default = Reply(200, ANSWER)
        yield running


@pytest.fixture
async def router(endpoint: ScriptedEndpoint, tmp_path: Path) -> AsyncIterator[RunningRouter]:
    catalog = write_catalog(
        tmp_path,
        model(versions=["2", "1"]),
        model(
            "batched",
            versions=["2", "1"],
            picture_codec=None,
            dynamic_batching={
                "preferred_batch_size": [4, 8],
                "max_queue_delay_microseconds": 500,
            },
        ),
        model(
            "stateful",
            versions=["2", "spring"],
            session={"ttl_s": 60},
            targets=[{"name": "stateful", "kind": "sagemaker", "endpoint": "e", "sessions": True}],
        ),
    )
    async with running_router(
        settings_for(catalog, endpoint.url, admins=("anonymous",))
    ) as running:
        yield running


def asking(message: str, **fields: str) -> OipMessage:
    made = new(message)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("name", ["det", "batched"])
async def test_each_version_has_a_row_with_the_requests_that_asked_for_it(
    router: RunningRouter, name: str
) -> None:
    for version in ("1", "", "2", "1", "1"):
        request = row_request(name)
        request.model_version = version
        await infer(router, request)

    async def counted(version: str = "") -> list[tuple[str, int, int, int, int]]:
        request = asking("ModelStatisticsRequest", name=name, version=version)
        found = (await router.oip.ModelStatistics(request)).model_stats
        return [
            (
                each.version,
                each.inference_count,
                each.execution_count,
                each.inference_stats.success.count,
                sum(batch.compute_infer.count for batch in each.batch_stats),
            )
            for each in found
        ]

    assert await counted() == [("2", 2, 2, 2, 2), ("1", 3, 3, 3, 3)]
    assert await counted("1") == [("1", 3, 3, 3, 3)]
    (all_of_it,) = await router.client.statistics(name)
    assert (all_of_it.requests, all_of_it.executions) == (5, 5)


async def readiness(router: RunningRouter, name: str) -> tuple[bool, set[tuple[str, str]], bool]:
    """ModelReady; state and reason in the index; whether the index of what is ready has it."""
    ready = (await router.oip.ModelReady(asking("ModelReadyRequest", name=name))).ready
    index = (await router.oip.RepositoryIndex(new("RepositoryIndexRequest"))).models
    only_ready = new("RepositoryIndexRequest")
    only_ready.ready = True
    named = {each.name for each in (await router.oip.RepositoryIndex(only_ready)).models}
    return ready, {(each.state, each.reason) for each in index if each.name == name}, name in named


async def test_a_model_is_ready_while_some_target_takes_requests(router: RunningRouter) -> None:
    assert await readiness(router, "det") == (True, {("READY", "")}, True)
    await router.admin.drain("det")
    unavailable = {("UNAVAILABLE", "every target is drained")}
    assert await readiness(router, "det") == (False, unavailable, False)
    assert await readiness(router, "batched") == (True, {("READY", "")}, True)
    with pytest.raises(NotReady, match="is drained") as refused:
        await infer(router)
    assert refused.value.retry_after_s == 5.0
    await router.admin.undrain("det")
    assert await readiness(router, "det") == (True, {("READY", "")}, True)


async def test_the_configuration_says_how_requests_are_scheduled_and_which_versions_there_are(
    router: RunningRouter,
) -> None:
    configs = {
        name: (await router.oip.ModelConfig(asking("ModelConfigRequest", name=name))).config
        for name in ("det", "batched", "stateful")
    }
    scheduled = {name: each.WhichOneof("scheduling_choice") for name, each in configs.items()}
    assert scheduled == {
        "det": None,
        "batched": "dynamic_batching",
        "stateful": "sequence_batching",
    }
    batching = configs["batched"].dynamic_batching
    assert list(batching.preferred_batch_size) == [4, 8]
    assert batching.max_queue_delay_microseconds == 500
    stateful = configs["stateful"]
    assert stateful.sequence_batching.max_sequence_idle_microseconds == 60_000_000
    assert list(configs["det"].version_policy.specific.versions) == [2, 1]
    # A name that is no number has no place among theirs.
    assert stateful.version_policy.WhichOneof("policy_choice") == "all"


async def test_numbers_beside_an_answer_come_back_as_large_as_64_bits_hold(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    told = b'"parameters":{"large":18446744073709551615,"small":-9223372036854775808}'
    endpoint.default = Reply(200, ANSWER[:-1] + b"," + told + b"}")
    parameters = (await infer(router)).parameters
    assert parameters["large"].uint64_param == 2**64 - 1
    assert parameters["small"].int64_param == -(2**63)
