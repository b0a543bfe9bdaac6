"""Canaries and shadows: counts over thousands of requests to real servers on loopback."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from structlog.testing import capture_logs

from simcloud.telemetry import metrics
from simcloud_inference_router.metrics import SHADOW, SHADOW_PARTS
from simcloud_inference_router.routing.routed_target import State
from simcloud_inference_router.routing.shadow import LOG_AT_ONCE, LOG_EVERY_S
from simcloud_inference_router.targets.base import MAX_ID_BYTES
from support.clock import VirtualTime
from support.eventually import eventually
from support.fleet import BUSY, MANY, OK, Fleet, Step, fleet, within_4_sigma

SEED = 20260


async def test_a_canary_gets_its_share_and_its_failures_are_nobodys() -> None:
    canary = {"target": "new", "percent": 5}
    outlier = {"base_ejection_s": 0.2}
    async with fleet(
        ["old", "new"], seed=SEED, settings=BUSY, canary=canary, outlier=outlier
    ) as running:
        outcomes = await running.ask_many(MANY)
        assert within_4_sigma(running["new"].seen, 0.05, MANY)
        assert running.model.canary is not None
        assert running.model.canary.requests == running["new"].seen
        assert outcomes.answered == MANY
        running["new"].step = Step(503)
        outcomes = await running.ask_many(500)
        assert outcomes.targets == {"old": 500}
        (_, new) = running.model.targets
        assert new.state is State.EJECTED
        running["new"].step = OK

        async def back() -> bool:
            await running.ask_many(20)
            return new.state is State.OPEN

        await eventually(back)


async def test_a_key_always_goes_the_same_way() -> None:
    canary = {"target": "new", "percent": 25, "by": "parameter", "parameter": "camera"}
    async with fleet(["old", "new"], seed=SEED, settings=BUSY, canary=canary) as running:

        def parameters(number: int) -> dict[str, str]:
            return {"camera": str(number % 500)}

        outcomes = await running.ask_many(MANY, parameters=parameters)
        # Every key came four times.
        assert outcomes.targets["new"] % 4 == 0
        assert within_4_sigma(outcomes.targets["new"] // 4, 0.25, 500)
        assert (await running.ask_many(40)).targets == {"old": 40}, "no key, no canary"


BOXES = (
    b'{"detections":[{"label":"cat","score":0.9,"box_xyxy_px":[0,0,10,%d]},'
    b'{"label":"dog","score":0.8,"box_xyxy_px":[50,50,60,60]}]}'
)


async def test_a_shadow_is_asked_for_a_sample_and_compared_with_each_primary() -> None:
    shadow = {
        "target": "next",
        "sample": 0.1,
        "compare": "detections",
        "max_in_flight": 256,
    }
    time = VirtualTime()
    async with fleet(
        ["same", "other", "next"], seed=SEED, settings=BUSY, shadow=shadow, virtual=time
    ) as running:
        running["same"].step = Step(body=BOXES % 10)
        # Half as high, which overlaps the shadow's by .44 only.
        running["other"].step = Step(body=BOXES % 4)
        running["next"].step = Step(body=BOXES % 9)
        with capture_logs() as lines:
            outcomes = await running.ask_many(MANY)
            found = running.model.shadow
            assert found is not None
            await eventually(lambda: found.under_way == 0)
        assert outcomes.failed == []
        assert outcomes.targets.keys() == {"same", "other"}, "no caller has a shadow's answer"
        counts, same, other = found.counts, found.by_primary["same"], found.by_primary["other"]
        assert counts.sent == same.sent + other.sent == running["next"].seen
        for name, each in found.by_primary.items():
            assert within_4_sigma(each.sent, 0.1, outcomes.targets[name]), name
        assert (same.agreed, same.differed) == (same.sent, 0)
        assert (other.agreed, other.differed) == (0, other.sent)
        assert (same.matched, same.missing, same.extra) == (2 * same.sent, 0, 0)
        assert (other.matched, other.missing, other.extra) == (other.sent,) * 3
        assert (counts.differed, counts.missing) == (other.differed, other.missing)
        for metric, label, name in (
            (SHADOW, "outcome", "differed"),
            (SHADOW_PARTS, "result", "extra"),
        ):
            labels = {"model": "det", "target": "next", label: name}
            assert metrics.value_of(metric, {**labels, "primary": "same"}) == 0
            assert metrics.value_of(metric, {**labels, "primary": "other"}) == other.sent
        assert (running.counts.requests, running.counts.succeeded) == (MANY, MANY)
        assert running.counts.request_bytes == MANY * len(b"picture")
        await _differing_pairs_are_told(running, lines, time)


async def _differing_pairs_are_told(
    running: Fleet, lines: list[MutableMapping[str, Any]], time: VirtualTime
) -> None:
    """As many at once as may be, since no time passed; after a pause one more, and the count."""
    told = [line for line in lines if line["event"] == "a shadow's answer differs"]
    assert len({line["request_id"] for line in told}) == len(told) == LOG_AT_ONCE
    found = running.model.shadow
    assert found is not None
    for line in told:
        assert 0 <= int(line["request_id"]) < MANY
        assert (line["model"], line["primary"], line["shadow"]) == ("det", "other", "next")
        assert (line["matched"], line["missing"], line["extra"]) == (1, 1, 1)
    left_out = found.by_primary["other"].differed - LOG_AT_ONCE
    assert left_out > 0
    time.advance(LOG_EVERY_S)
    before = found.counts.differed
    with capture_logs() as later:

        async def differed() -> bool:
            await running.ask(request_id="later" + MAX_ID_BYTES * "r")
            return found.under_way == 0 and found.counts.differed > before

        await eventually(differed)
    (line,) = [line for line in later if line["event"] == "a shadow's answer differs"]
    assert line["request_id"] == "later" + (MAX_ID_BYTES - len("later")) * "r"
    assert line["lines_left_out"] == left_out


async def test_a_shadow_that_hangs_or_fails_delays_and_fails_nobody() -> None:
    shadow = {"target": "next", "sample": 1.0, "compare": "detections", "max_in_flight": 3}
    async with fleet(["now", "next"], seed=SEED, settings=BUSY, shadow=shadow) as running:
        running["next"].step = Step(hold=True)
        assert (await running.ask_many(MANY)).answered == MANY
        found = running.model.shadow
        assert found is not None
        assert (found.under_way, found.counts.dropped) == (3, MANY - 3)
        running["next"].step = Step(500)
        running["next"].release()
        await eventually(lambda: found.under_way == 0)
        await running.ask()
        await eventually(lambda: found.counts.failed == 1)
        assert running.counts.failed == {}
        assert running.model.retries.balance > 0
    assert running["next"].in_flight == 0


async def test_a_copy_under_way_ends_with_the_router() -> None:
    shadow = {"target": "next", "sample": 1.0, "compare": "detections"}
    async with fleet(["now", "next"], seed=SEED, shadow=shadow) as running:
        running["next"].step = Step(hold=True)
        await running.ask()
        await eventually(lambda: running["next"].in_flight == 1)
    await eventually(lambda: running["next"].disconnected == 1)
