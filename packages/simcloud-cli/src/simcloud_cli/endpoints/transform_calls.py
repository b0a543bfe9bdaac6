"""What is asked of SageMaker on a transform job's way: begun once, waited for, stopped."""

from __future__ import annotations

import asyncio
from typing import Any

from simcloud.concurrency.service import run_cleanup
from simcloud.concurrency.unbroken import Unbroken
from simcloud.errors import AlreadyExists, Conflict, NotFound, PreconditionFailed, SimcloudError
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.transform_request import (
    ENDED,
    describe_request,
    model_request,
    stop_by_hand,
    stop_request,
)
from simcloud_cli.endpoints.waiting import Patience, wait_until

_BEGUN_WITHIN_S = 90.0
"""After Ctrl-C. A try of boto3's that gets no answer takes 70 s, one more gets its answer soon."""
_STOP_WITHIN_S = 20.0


class TransformCalls:
    """The jobs of one model.

    Args:
        aws: where they run.
        model: its name in SageMaker.
        patience: how long a job is waited for.
        predictions: what its predictions are called, for messages.
    """

    def __init__(self, aws: Aws, *, model: str, patience: Patience, predictions: str) -> None:
        self._aws = aws
        self._model = model
        self._patience = patience
        self._predictions = predictions

    async def check_model(self) -> None:
        """Returns when SageMaker has the model.

        Raises:
            NotFound: it has not.
        """
        await self._aws.ask(model_request(self._model))

    def check(self, request: Request) -> None:
        """Returns when a request has the right shape; sends nothing.

        Raises:
            InvalidRequest: it has not.
        """
        self._aws.check(request)

    async def find(self, job: str) -> dict[str, Any] | None:
        """SageMaker's description of a job; None: it was never begun."""
        return await self._aws.find(describe_request(job))

    def is_ours(self, found: dict[str, Any]) -> bool:
        """Whether a described job asks this model."""
        return bool(found["ModelName"] == self._model)

    def other_model(self, found: dict[str, Any]) -> PreconditionFailed:
        """The error of a described job that asks another one."""
        job = found["TransformJobName"]
        return PreconditionFailed(
            f"transform job {job} of SageMaker model {found['ModelName']} still makes predictions "
            f"called {self._predictions}: wait for it, or {stop_by_hand(job)}"
        )

    async def begin(self, job: str, request: Request) -> None:
        """Begins a job, unless another call was faster: SageMaker begins one of a name.

        Cancelling it stops the job, as soon as SageMaker has answered that it has begun.

        Raises:
            PreconditionFailed: a quota, or the faster call's job asks another model.
        """
        # A cancel reaches no request that is under way: it goes on in its thread.
        begun = Unbroken(self._aws.ask(request))
        try:
            await begun.result()
        except asyncio.CancelledError:
            self._patience.say(
                f"transform job {job} is stopped once SageMaker has begun it; if this command is "
                f"killed before, {stop_by_hand(job)}"
            )
            deadline_s = _BEGUN_WITHIN_S + 2 * _STOP_WITHIN_S
            await run_cleanup(self._stop_begun(begun, job), deadline_s=deadline_s)
            raise
        except (AlreadyExists, Conflict):
            found = await self.find(job)
            if found is None:
                raise
            if not self.is_ours(found):
                raise self.other_model(found) from None

    async def ended(self, job: str) -> dict[str, Any]:
        """Waits for a job's end, a bad one included. Cancelling it stops the job.

        Raises:
            DeadlineExceeded: it runs on.
        """
        try:
            return await wait_until(
                lambda: self._aws.ask(describe_request(job)),
                done=lambda seen: seen["TransformJobStatus"] in ENDED,
                state=lambda seen: str(seen["TransformJobStatus"]),
                what=f"transform job {job}",
                patience=self._patience,
            )
        except asyncio.CancelledError:
            await self.stop(job)
            raise
        except SimcloudError:
            self._patience.say(
                f"transform job {job} goes on: the same command waits for it again, or "
                f"{stop_by_hand(job)}"
            )
            raise

    async def stop(self, job: str) -> None:
        """Stops a job; where that fails, it is said how people do.

        A cancel does not interrupt it and is raised afterwards.
        """
        # Its own time runs out first: that is what it says.
        await run_cleanup(self._stop(job), deadline_s=2 * _STOP_WITHIN_S)

    async def _stop_begun(self, begun: Unbroken[dict[str, Any]], job: str) -> None:
        """Stops a job whose beginning may be under way: before that there is nothing to stop."""
        problem = await begun.ended(within_s=_BEGUN_WITHIN_S)
        await self._stop(job, refused=isinstance(problem, SimcloudError))

    async def _stop(self, job: str, *, refused: bool = False) -> None:
        try:
            async with asyncio.timeout(_STOP_WITHIN_S):
                await self._aws.ask(stop_request(job))
            self._patience.say(f"transform job {job} is stopped: it bills no longer")
        except (SimcloudError, TimeoutError) as error:
            if refused and isinstance(error, NotFound):
                self._patience.say(f"transform job {job} was not begun: it bills nothing")
                return
            self._patience.say(
                f"transform job {job} could not be stopped ({error}) and may go on to "
                f"bill: {stop_by_hand(job)}"
            )
