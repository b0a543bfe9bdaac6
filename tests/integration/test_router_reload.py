"""The router's catalogue exchanged while it serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import yaml

from simcloud.client.router import Frame, Picture
from simcloud.errors import NotFound, PreconditionFailed
from simcloud.oip.tensors import new
from simcloud.telemetry import metrics
from simcloud_inference_router.metrics import (
    CATALOG_INFO,
    CATALOG_LOADED_AT,
    CATALOG_REJECTED,
    CATALOG_RELOADS,
)
from support.eventually import eventually
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

POLL_S = 0.02
ANSWER = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
PICTURE = Picture("image/png", b"picture")


def det(*targets: str, **changes: Any) -> dict[str, object]:
    """Model `det` at endpoints; `name*2` has the weight 2."""
    described = []
    for target in targets:
        name, _, weight = target.partition("*")
        entry: dict[str, object] = {"name": name, "kind": "sagemaker", "endpoint": name}
        described.append(entry | ({"weight": float(weight)} if weight else {}))
    return model(targets=described, tensor_codec="json_v2", **changes)


def exchange(path: Path, *models: object) -> None:
    """Puts another catalogue in the place of one, in one piece."""
    beside = path.with_suffix(".new")
    beside.write_text(yaml.safe_dump({"models": list(models)}))
    beside.replace(path)


async def loaded(router: RunningRouter, times: int) -> None:
    """Until so many catalogues were taken."""
    await eventually(lambda: router.reloader.status.reloads["loaded"] == times)


def asked(endpoint: ScriptedEndpoint, target: str) -> int:
    """Requests that came for a target."""
    return sum(each.path == f"/endpoints/{target}/invocations" for each in endpoint.seen)


class Load:
    """Requests of all forms that go on until they are told to end."""

    def __init__(self, router: RunningRouter) -> None:
        self.router = router
        self.stop = asyncio.Event()
        self.frames = self.streamed = self.unary = 0

    async def goes_on(self) -> None:
        """Until every form of requests was answered once more."""
        frames, streamed, unary = self.frames, self.streamed, self.unary
        await eventually(
            lambda: self.frames > frames and self.streamed > streamed and self.unary > unary
        )

    async def frame_stream(self) -> None:
        async def frames() -> AsyncIterator[Frame]:
            number = 0
            while not self.stop.is_set():
                yield Frame(str(number), PICTURE)
                number += 1
                await asyncio.sleep(0)

        async for answer in self.router.client.infer_frames("det", frames()):
            assert answer.ok, answer.message
            assert answer.id == str(self.frames)
            self.frames += 1

    async def tensor_stream(self) -> None:
        call = self.router.oip.ModelStreamInfer()
        while not self.stop.is_set():
            await call.write(row_request("det", str(self.streamed)))
            answer = await call.read()
            assert not answer.error_message
            assert answer.infer_response.id == str(self.streamed)
            self.streamed += 1
        await call.done_writing()

    async def unary_calls(self) -> None:
        while not self.stop.is_set():
            answer = await infer(self.router, row_request("det", "7"))
            assert answer.id == "7"
            self.unary += 1


async def test_catalogues_are_exchanged_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    versions = [
        [det("a", "b")],
        [det("a*2", "b*0.5"), model("extra")],
        [det("b")],
        [det("b", "c", labels=["one"])],
        [det("a"), model("other")],
        [det("a*3")],
    ]
    path = write_catalog(tmp_path, det("a"))
    async with scripted_endpoint() as endpoint:
        endpoint.default = Reply(body=ANSWER)
        settings = settings_for(path, endpoint.url, catalog_poll_s=POLL_S)
        async with running_router(settings) as router:
            load = Load(router)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(load.frame_stream())
                tasks.create_task(load.tensor_stream())
                for _ in range(2):
                    tasks.create_task(load.unary_calls())
                await load.goes_on()
                for number, version in enumerate(versions):
                    exchange(path, *version)
                    await loaded(router, number + 1)
                    await load.goes_on()
                load.stop.set()
            total = load.frames + load.streamed + load.unary
            counts = router.router.models["det"].counts
            await eventually(lambda: counts.succeeded == total)
            assert counts.failed == {}
            assert len(endpoint.seen) == total, "none was sent twice"
            assert asked(endpoint, "b") > 0


async def test_an_open_stream_keeps_its_model_and_new_requests_see_the_new_one(
    tmp_path: Path,
) -> None:
    path = write_catalog(tmp_path, det("a"), model("other"))
    async with scripted_endpoint() as endpoint:
        endpoint.default = Reply(body=ANSWER)
        settings = settings_for(path, endpoint.url, catalog_poll_s=POLL_S, admins=("anonymous",))
        async with running_router(settings) as router:
            more: asyncio.Queue[Frame | None] = asyncio.Queue(8)

            async def frames() -> AsyncIterator[Frame]:
                while (frame := await more.get()) is not None:
                    yield frame

            async with aclosing(router.client.infer_frames("det", frames())) as answers:
                await more.put(Frame("0", PICTURE))
                assert (await anext(answers)).target == "a"
                tensors = router.oip.ModelStreamInfer()
                await tensors.write(row_request("det", "0"))
                assert (await tensors.read()).infer_response.id == "0"
                exchange(path, model("other"))
                await loaded(router, 1)
                await more.put(Frame("1", PICTURE))
                assert (await anext(answers)).target == "a"
                await tensors.write(row_request("det", "1"))
                assert (await tensors.read()).infer_response.id == "1"
                with pytest.raises(NotFound, match="the catalogue has: other"):
                    await infer(router)
                await more.put(None)
                assert [answer async for answer in answers] == []
            await tensors.done_writing()
            described = metrics.exposition().decode()
            assert 'model="det"' not in described
            assert 'model="other"' in described
            assert [each.model for each in (await router.admin.targets()).targets] == ["other"]


async def test_a_second_version_takes_nothing_from_the_counts_of_the_first(tmp_path: Path) -> None:
    path = write_catalog(tmp_path, det("a"))
    async with scripted_endpoint() as endpoint:
        endpoint.default = Reply(body=ANSWER)
        async with running_router(
            settings_for(path, endpoint.url, catalog_poll_s=POLL_S)
        ) as router:
            more: asyncio.Queue[Frame | None] = asyncio.Queue(8)

            async def frames() -> AsyncIterator[Frame]:
                while (frame := await more.get()) is not None:
                    yield frame

            async def rows() -> dict[str, int]:
                request = new("ModelStatisticsRequest")
                request.name = "det"
                found = (await router.oip.ModelStatistics(request)).model_stats
                return {each.version: each.inference_stats.success.count for each in found}

            async with aclosing(router.client.infer_frames("det", frames())) as answers:
                await more.put(Frame("0", PICTURE))
                await anext(answers)
                await infer(router)
                assert await rows() == {"1": 2}
                exchange(path, det("a", versions=["2", "1"]))
                await loaded(router, 1)
                assert await rows() == {"2": 0, "1": 2}
                await infer(router)
                # The stream began when there was one version.
                await more.put(Frame("1", PICTURE))
                await anext(answers)
                await more.put(None)
                assert [answer async for answer in answers] == []
            assert await rows() == {"2": 1, "1": 3}


async def test_what_stays_keeps_what_was_learnt_and_what_was_set_by_hand(tmp_path: Path) -> None:
    path = write_catalog(tmp_path, det("a", "b"), model("other"))
    async with scripted_endpoint() as endpoint:
        endpoint.default = Reply(body=ANSWER)
        settings = settings_for(path, endpoint.url, catalog_poll_s=0, admins=("anonymous",))
        async with running_router(settings) as router:
            other = router.router.models["other"]
            before = router.router.models["det"]
            await router.admin.set_weight("a", 5)
            await router.admin.drain("b")
            await infer(router)

            # Another weight for one target: the same door.
            exchange(path, det("a", "b*2"), model("other"))
            change = await router.admin.reload_catalog()
            assert (change.added, change.changed, change.removed) == ((), ("det",), ())
            assert router.router.models["other"] is other
            now = router.router.models["det"]
            assert (now.door, now.counts) == (before.door, before.counts)
            a, b = (await router.admin.targets()).targets[:2]
            assert (a.weight, a.catalog_weight) == (5, 1)
            assert (b.weight, b.drained) == (2, False)

            # Another target: a new door, in which the old targets are known.
            exchange(path, det("a", "b*2", "c"), model("other"))
            await router.admin.reload_catalog()
            newer = router.router.models["det"]
            assert newer.door is not before.door
            assert newer.counts is before.counts
            a, b, c = (await router.admin.targets()).targets[:3]
            assert (a.name, a.weight, a.average_s > 0) == ("a", 5, True)
            assert (b.weight, c.weight, c.average_s) == (2, 1, 0)
            assert newer.roster.target("a").counts.attempts == 1

            # Nothing new: nothing happens.
            unchanged = await router.admin.reload_catalog()
            assert (unchanged.added, unchanged.changed, unchanged.removed) == ((), (), ())
            assert router.router.models["det"] is newer


async def test_a_broken_catalogue_keeps_the_last_good_one_and_is_logged_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_catalog(tmp_path, det("a"))
    good = path.read_text()
    async with scripted_endpoint() as endpoint:
        endpoint.default = Reply(body=ANSWER)
        settings = settings_for(path, endpoint.url, catalog_poll_s=POLL_S, admins=("anonymous",))
        async with running_router(settings) as router:
            status = router.reloader.status
            digest = status.digest
            path.write_text(good.replace("kind: sagemaker", "kind: sagmaker"))
            await eventually(lambda: status.reloads["rejected"] == 1)
            with pytest.raises(PreconditionFailed, match=r"targets\.0\.kind: Input should be"):
                await router.admin.reload_catalog()
            await infer(router)
            told = await router.admin.targets()
            assert (told.catalog_digest, "0.kind" in told.catalog_problem) == (digest, True)
            assert metrics.value_of(CATALOG_REJECTED) == 1
            assert metrics.value_of(CATALOG_RELOADS, {"outcome": "rejected"}) == 2
            path.unlink()
            await eventually(lambda: "can't be read" in status.problem)
            path.write_text(good)
            await eventually(lambda: not status.problem)
            assert status.reloads["loaded"] == 0
            assert metrics.value_of(CATALOG_REJECTED) == 0
            assert metrics.value_of(CATALOG_INFO, {"digest": digest}) == 1
            exchange(path, det("a", "b"))
            await loaded(router, 1)
            assert metrics.value_of(CATALOG_INFO, {"digest": digest}) == 0
            assert metrics.value_of(CATALOG_INFO, {"digest": status.digest}) == 1
            assert metrics.value_of(CATALOG_LOADED_AT) == status.loaded_at_s
    lines = capsys.readouterr().err.splitlines()
    assert sum("is not taken" in line and "kind: Input" in line for line in lines) == 1


async def test_a_mounted_config_map_is_followed_through_its_links(tmp_path: Path) -> None:
    """As the kubelet does it: `..data` is a link to a folder, and exchanged in one piece."""
    for number, labels in (("1", "cat\ndog\n"), ("2", "cat\nfox\n")):
        (tmp_path / number).mkdir()
        write_catalog(tmp_path / number, det("a", labels=[], labels_file="labels.txt"))
        (tmp_path / number / "labels.txt").write_text(labels)
    data, path = tmp_path / "..data", tmp_path / "catalog.yaml"
    data.symlink_to("1")
    path.symlink_to("..data/catalog.yaml")
    (tmp_path / "labels.txt").symlink_to("..data/labels.txt")
    settings = settings_for(path, "http://127.0.0.1:1", catalog_poll_s=POLL_S)
    async with running_router(settings) as router:
        assert router.router.models["det"].entry.labels == ("cat", "dog")
        (tmp_path / "..new").symlink_to("2")
        (tmp_path / "..new").replace(data)
        await loaded(router, 1)
        (described,) = await router.client.list_models()
        assert described.labels == ("cat", "fox"), "the labels' file alone had changed"


async def test_a_file_that_is_still_being_written_is_not_taken(tmp_path: Path) -> None:
    path = write_catalog(tmp_path, det("a"))
    settings = settings_for(path, "http://127.0.0.1:1", catalog_poll_s=0)
    async with running_router(settings) as router:
        reloads = router.reloader.status.reloads
        for models in ([model("one")], [model("one"), model("two")]):
            path.write_text(yaml.safe_dump({"models": models}))
            await router.reloader.look()
        assert reloads == {"loaded": 0, "unchanged": 0, "rejected": 0}
        await router.reloader.look()
        assert reloads["loaded"] == 1
        assert list(router.router.models) == ["one", "two"]


async def test_an_operator_who_gives_up_leaves_the_new_catalogue_to_be_taken(
    tmp_path: Path,
) -> None:
    path = write_catalog(tmp_path, det("a"))
    settings = settings_for(path, "http://127.0.0.1:1", catalog_poll_s=0)
    async with running_router(settings) as router:
        exchange(path, det("a"), model("new"))
        asking = asyncio.ensure_future(router.reloader.reload())
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        assert list(router.router.models) == ["det"]
        for _ in range(2):
            await router.reloader.look()
        assert list(router.router.models) == ["det", "new"]
