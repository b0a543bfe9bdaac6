"""What of a model outlives a change of the catalogue, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from simcloud.clock import SYSTEM_CLOCK
from simcloud.errors import NotFound, NotReady, PreconditionFailed
from simcloud_inference_router.background import open_background
from simcloud_inference_router.build_model import ModelBuilder
from simcloud_inference_router.catalog import Catalog, ModelEntry
from simcloud_inference_router.catalog_change import leads_to_the_same, shadows_the_same
from simcloud_inference_router.routing.routed_target import State
from simcloud_inference_router.served import Served
from simcloud_inference_router.settings import RouterSettings
from simcloud_inference_router.statistics import CallTrace
from simcloud_inference_router.targets.base import Failure, Invocation, TargetAnswer
from simcloud_inference_router.versions import counts_of
from support.eventually import eventually
from support.roster import ANSWER, Unasked, settle

Changed = dict[str, Any]


def target(name: str, **changes: Any) -> Changed:
    return {"name": name, "kind": "container", "url": f"http://{name}:1", **changes}


def entry(*targets: Changed | str, **changes: Any) -> ModelEntry:
    described = [target(each) if isinstance(each, str) else each for each in targets]
    fields = {"name": "det", "task": "object_detection", "digest": "0" * 64, "tensor_codec": None}
    return ModelEntry.model_validate({**fields, "targets": described, **changes})


def catalog(*models: ModelEntry) -> Catalog:
    return Catalog(models=models)


@pytest.fixture
async def serve() -> Any:
    """Makes what is served of a catalogue."""
    async with open_background() as background:
        builder = ModelBuilder(
            RouterSettings(catalog=Path("unused")),
            make=lambda place: Unasked(place.name),
            background=background,
            clock=SYSTEM_CLOCK,
            random=Random(3),
        )

        def make(*models: ModelEntry) -> Served:
            return Served(catalog(*models), build=builder.build)

        yield make


Serve = Callable[..., Served]
CANARY = {"target": "b", "percent": 1}
G5 = {"instance_type": "ml.g5.xlarge"}
SHADOW = {"target": "c", "sample": 0.1, "compare": "detections"}


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"targets": [target("a", weight=5), target("b"), target("c")]}, True),
        ({"targets": [target("a", **G5), target("b", usd_per_hour=2), target("c", **G5)]}, True),
        ({"canary": {"target": "b", "percent": 50}}, True),
        ({"labels": ["x"]}, True),
        ({"canary": {"target": "a", "percent": 1}}, False),
        ({"canary": None}, False),
        ({"shadow": None}, False),
        ({"outlier": {"consecutive_failures": 9}}, False),
        ({"cold_start": {}}, False),
        ({"targets": [target("a"), target("b"), target("c"), target("d")]}, False),
        ({"targets": [target("a", timeout_s=1), target("b"), target("c")]}, False),
    ],
)
def test_a_door_serves_on_while_places_roles_and_rules_are_the_same(
    changes: Changed, same: bool
) -> None:
    before = entry("a", "b", "c", canary=CANARY, shadow=SHADOW)
    fields = before.model_dump(exclude_unset=True)
    after = ModelEntry.model_validate({**fields, **changes})
    assert leads_to_the_same(before, after) is same


def test_a_shadow_is_compared_on_while_it_and_the_answers_form_are_the_same() -> None:
    before = entry("a", "c", shadow=SHADOW)
    assert shadows_the_same(before, entry(target("a", weight=2), "c", shadow=SHADOW))
    assert shadows_the_same(before, entry("a", target("c", **G5), shadow=SHADOW))
    assert not shadows_the_same(before, entry("a", "c", shadow={**SHADOW, "sample": 0.2}))
    assert not shadows_the_same(before, entry("a", target("c", weight=2), shadow=SHADOW))
    assert not shadows_the_same(before, entry("a", "c", shadow=SHADOW, labels=["new"]))


async def test_traffic_that_moves_from_one_target_to_another_is_never_nowhere(
    serve: Serve,
) -> None:
    served = serve(entry("a", target("b", weight=0)))
    door = served.models["det"].door
    everyone = door.roster.everyone
    while door.enter(everyone, SYSTEM_CLOCK.monotonic()) is not None:
        pass
    waiting = asyncio.ensure_future(
        door.wait(everyone, caller="", priority=0, patient=False, deadline=None, held_since=0.0)
    )
    await settle()
    served.replace(catalog(entry(target("a", weight=0), "b")))
    assert served.models["det"].door is door
    assert [(each.name, each.weight) for each in door.snapshot()] == [("a", 0), ("b", 1)]
    assert (await waiting).target.name == "b"


async def test_a_new_door_knows_what_was_learnt_and_an_ejection_goes_on(serve: Serve) -> None:
    served = serve(entry("a", "b", "c"))
    former = served.models["det"]
    now = SYSTEM_CLOCK.monotonic()
    roster = former.roster
    failing = roster.target("b")
    for _ in range(5):
        grant = roster.grant(failing, now)
        roster.learn(grant, Failure(PreconditionFailed("no"), shrink=True), now)
    failing.state, failing.shut_until = State.EJECTED, now + 30
    served.models["det"].door.drain("c")
    served.replace(catalog(entry("a", "b", target("c", weight=3), "d")))
    door = served.models["det"].door
    assert door is not former.door
    known = door.roster.target("b")
    assert (known.state, known.limit, known.counts) == (
        State.EJECTED,
        failing.limit,
        failing.counts,
    )
    assert door.roster.shut == 1
    assert not door.roster.target("c").drained, "its entry has changed"
    # Both doors lead to it, as long as somebody holds the former one.
    assert served.doors_of("a") == [door, former.door]
    grant = former.roster.grant(former.roster.target("a"), now)
    assert served.former_in_flight("a") == 1
    former.door.leave(grant, ANSWER, now)
    del former, roster, failing, grant
    assert served.doors_of("a") == [door]


async def test_a_new_price_changes_what_is_counted_from_now_on_and_nothing_else(
    serve: Serve,
) -> None:
    def priced(usd_per_hour: float, *more: str) -> Catalog:
        targets = (target(name, usd_per_hour=usd_per_hour) for name in ("a", "b", "c"))
        return catalog(entry(*targets, *more, shadow=SHADOW))

    served = serve(*priced(3600.0).models)
    model = served.models["det"]
    assert model.shadow is not None
    for known in model.targets:
        known.counts.begun(0.0)
        known.counts.ended(100.0, 100.0)
    failing = model.roster.target("b")
    failing.state, failing.shut_until = State.EJECTED, SYSTEM_CLOCK.monotonic() + 30
    model.door.drain("a")
    model.door.set_weight("b", 5)
    served.replace(priced(36.0))
    cheaper = served.models["det"]
    assert (cheaper.door, cheaper.shadow) == (model.door, model.shadow)
    served.replace(priced(7200.0, "new"))
    after = served.models["det"]
    assert after.door is not model.door
    for changed in (cheaper, after):
        told = {each.name: each for each in changed.snapshot()}
        assert [told[name].cost_usd for name in ("a", "b", "c")] == [100.0] * 3
        assert (told["a"].drained, told["b"].weight, told["b"].state) == (True, 5, State.EJECTED)
    for known in after.targets:
        known.counts.begun(200.0)
        known.counts.ended(210.0, 10.0)
    costs = {each.name: each.cost_usd for each in after.snapshot()}
    assert costs == {"a": 120.0, "b": 120.0, "c": 120.0, "new": None}


async def test_a_versions_counts_go_on_when_others_come_and_begin_anew_when_it_is_back(
    serve: Serve,
) -> None:
    served = serve(entry("a"))
    counts = served.models["det"].counts

    def ask(version: str) -> None:
        trace = CallTrace(version=version, attempts=1)
        counts.record(trace, total_s=1.0, reason=None, now_s=0.0)

    def told(*versions: str) -> list[int]:
        served.replace(catalog(entry("a", versions=versions)))
        model = served.models["det"]
        assert model.counts is counts
        return [counts_of(model, each).requests for each in versions]

    ask("1")
    assert counts_of(served.models["det"], "1").succeeded == 1
    assert told("2", "1") == [0, 1]
    # Of a request that began before there were two, too.
    ask("1")
    ask("2")
    assert told("1", "2", "3") == [2, 1, 0]
    assert told("2") == [1], "the only one left is not the model"
    ask("1")
    assert told("1", "2") == [0, 1], "streams may ask for one that is gone"
    assert told("4") == [0]
    assert (counts.requests, set(counts.by_version)) == (4, {"4"})


async def test_a_primary_that_is_gone_has_no_row_and_its_copies_stay_in_the_sum(
    serve: Serve,
) -> None:
    asked: list[asyncio.Future[TargetAnswer | Failure]] = []

    class Held(Unasked):
        async def invoke(
            self, invocation: Invocation, *, timeout_s: float
        ) -> TargetAnswer | Failure:
            asked.append(asyncio.get_running_loop().create_future())
            return await asked[-1]

    def next_to(*names: str) -> Catalog:
        return catalog(entry(*names, "c", shadow={**SHADOW, "sample": 1.0}))

    served = serve(*next_to("a", "b").models)
    shadow = served.models["det"].shadow
    assert shadow is not None
    shadow.target.target = Held("c")
    sent = Invocation(body=b"", content_type="image/png", accept="application/json")
    for primary in "ab":
        shadow.offer(sent, ANSWER, primary=primary)
    await settle()
    served.replace(next_to("a", "d"))
    assert served.models["det"].shadow is shadow
    assert (shadow.counts.sent, set(shadow.by_primary)) == (2, {"a"})
    # By a stream that began before; and what was under way ends.
    shadow.offer(sent, ANSWER, primary="b")
    await settle()
    for each in asked:
        each.set_result(Failure(NotReady("down")))
    await eventually(lambda: not shadow.under_way)
    assert (shadow.counts.sent, shadow.counts.failed) == (3, 3)
    assert {name: each.failed for name, each in shadow.by_primary.items()} == {"a": 1}
    served.replace(next_to("a", "b"))
    shadow.offer(sent, ANSWER, primary="b")
    await settle()
    asked[-1].set_result(Failure(NotReady("down")))
    await eventually(lambda: not shadow.under_way)
    assert {name: each.failed for name, each in shadow.by_primary.items()} == {"a": 1, "b": 1}
    assert shadow.counts.failed == 4


async def test_sessions_stay_where_they_are_or_are_told_that_they_have_ended(serve: Serve) -> None:
    served = serve(entry("a", "b"))
    before = served.models["det"]

    def place(key: str, session_id: str = "") -> str:
        model = served.models["det"]
        mask = model.roster.ordinary
        return model.sessions.target_of("me", key, session_id=session_id, mask=mask, now=0.0).name

    homes = {str(key): place(str(key)) for key in range(20)}
    assert set(homes.values()) == {"a", "b"}
    served.replace(catalog(entry("b", "c", "d")))
    assert served.models["det"].door is not before.door
    for key, home in homes.items():
        if home == "b":
            assert place(key) == "b"
            continue
        with pytest.raises(PreconditionFailed, match="a is no longer in the catalogue as it was"):
            place(key)
        assert place(key, "NEW_SESSION") in {"b", "c", "d"}


async def test_models_come_and_go_and_a_broken_one_changes_nothing(serve: Serve) -> None:
    other = entry("x", name="other")
    served = serve(entry("a"), other)
    kept = served.models["other"]
    change = served.replace(catalog(other, entry("n", name="new")))
    assert (change.added, change.changed, change.removed) == (("new",), (), ("det",))
    assert served.models["other"] is kept
    with pytest.raises(NotFound, match="there is no target 'a'; there are: n, x"):
        served.model_of("a")
    assert not served.replace(catalog(other, entry("n", name="new")))
