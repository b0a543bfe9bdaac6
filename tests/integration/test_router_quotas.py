"""Callers that ask too often, on every way in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simcloud.client.router import Frame, Picture
from simcloud.errors import QuotaExceeded
from support.router import infer, model, row_request, running_router, settings_for, write_catalog
from support.scripted_endpoint import Reply, scripted_endpoint

ANSWER = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'


async def test_who_asks_too_often_is_told_when_and_reaches_no_target(tmp_path: Path) -> None:
    path = write_catalog(tmp_path, model(tensor_codec="json_v2"))
    quotas = [{"caller": "anonymous", "requests_per_s": 0.001, "burst": 3}]
    async with scripted_endpoint() as endpoint:
        endpoint.default = Reply(body=ANSWER)
        async with running_router(settings_for(path, endpoint.url, quotas=quotas)) as router:

            async def frames() -> AsyncIterator[Frame]:
                for number in range(2):
                    yield Frame(str(number), Picture("image/png", b"picture"))

            await infer(router)
            stream = router.oip.ModelStreamInfer()
            await stream.write(row_request())
            assert not (await stream.read()).error_message
            answers = [each async for each in router.client.infer_frames("det", frames())]
            assert [each.reason for each in answers] == ["", "QUOTA_EXCEEDED"]
            assert answers[1].retryable
            too_often = pytest.raises(QuotaExceeded, match=r"0\.001 requests a second")
            with too_often as refused:
                await infer(router)
            assert refused.value.retry_after_s == pytest.approx(1000, rel=0.1)
            await stream.write(row_request())
            assert "try again in" in (await stream.read()).error_message
            await stream.done_writing()
            assert len(endpoint.seen) == 3
            counts = router.router.models["det"].counts
            assert (counts.succeeded, counts.failed) == (3, {"QUOTA_EXCEEDED": 3})
