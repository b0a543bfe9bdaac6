"""A batch on its way: sealed when it has a slot, asked, and its answer cut apart."""

from __future__ import annotations

from collections.abc import Sequence

from simcloud.clock import Clock
from simcloud.errors import InvalidRequest, NotReady, SimcloudError, Unsupported
from simcloud_inference_router.batching.batch import Batch, Member, Shared
from simcloud_inference_router.batching.former import BatchFormer
from simcloud_inference_router.batching.rows import joined, split
from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    TensorRequest,
    UnencodableRequest,
)
from simcloud_inference_router.dispatch import Dispatcher, RoutedModel, Sealed
from simcloud_inference_router.invocations import canary_value, invocation_of, priority_of
from simcloud_inference_router.targets.base import Invocation, TargetAnswer
from simcloud_inference_router.targets.errors import OversizedAnswer, bad_answer
from simcloud_inference_router.tensor_answers import check_size, read_answer

_NOT_YET = Invocation(b"", "", "")
"""What stands for a batch until it is sealed: any ordinary target may get it."""


class _Unfit(Exception):
    """The batch can't be sent as one; nothing was."""


class Execution:
    """One batch.

    Args:
        model: whom to ask.
        former: lets others join until it is sealed.
        batch: whose members want answers.
        dispatcher: carries it.
        answer_limit: bytes of one member's answer.
        clock: for timings.
    """

    def __init__(
        self,
        model: RoutedModel,
        former: BatchFormer,
        batch: Batch,
        *,
        dispatcher: Dispatcher,
        answer_limit: int,
        clock: Clock,
    ) -> None:
        self._model = model
        self._former = former
        self._batch = batch
        self._dispatcher = dispatcher
        self._answer_limit = answer_limit
        self._clock = clock
        self._sent: list[Member] = []
        """Members whose rows are in the body."""

    async def run(self) -> None:
        """Asks, and gives the members their answers.

        One that a target refuses as wrong (4xx) may have one bad member, and one with too large
        an answer may be too many: each is sent by itself then, paid from the retry budget.

        Raises:
            SimcloudError: what becomes of all members.
        """
        batch, model = self._batch, self._model
        answered = False
        try:
            answer = await self._ask()
            shares = self._shares(answer)
            answered = True
        except _Unfit:
            batch.send_apart(self._sent)
            return
        except (InvalidRequest, OversizedAnswer):
            if not batch.trace.attempts or len(self._sent) < 2:
                raise
            self._send_apart()
            return
        finally:
            if batch.trace.attempts or answered:
                model.counts.record_execution(
                    batch.trace, answered=answered, requests=len(self._sent)
                )
        batch.answer(self._sent, shares)

    async def _ask(self) -> TargetAnswer:
        first = next(iter(self._batch.members)).asked
        parameters = first.request.parameters
        return await self._dispatcher.call(
            self._model,
            _NOT_YET,
            # Members leave when their own time is up; until it is sealed others may join.
            deadline=None,
            patient=first.patient,
            trace=self._batch.trace,
            caller=first.caller,
            priority=priority_of(parameters),
            canary_value=canary_value(self._model.entry, parameters),
            seal=self._seal,
        )

    def _seal(self, now: float) -> Sealed:
        """What is sent, now that a target has a slot."""
        batch, former = self._batch, self._former
        former.forget(batch)
        for member in batch.late(now):
            # Its timer is due in this very turn of the loop.
            batch.expire(member, self._model.door.too_late(now - member.joined_at), now)
        self._sent = members = batch.seal(now)
        if not members:
            raise self._model.door.too_late(now - batch.opened_at)
        encoded = self._encoded(members)
        first = members[0].asked
        # What is sent as one counts as one, also where its requests name several versions.
        batch.trace.version = first.trace.version
        deadlines = [each.asked.deadline for each in members]
        return Sealed(
            invocation_of(
                encoded,
                request_id=first.request.id if len(members) == 1 else "",
                traceparent=first.traceparent,
                target_model=first.target_model,
            ),
            # The others' ends are their own.
            deadline=_latest(deadlines),
        )

    def _encoded(self, members: Sequence[Member]) -> Encoded:
        model, trace = self._model, self._batch.trace
        codec = model.codec
        assert codec is not None, "the catalogue refuses batches of models without one"
        begun = self._clock.monotonic()
        requests = [each.asked.request for each in members]
        first = requests[0]
        request = TensorRequest(
            inputs=joined([each.inputs for each in requests]),
            outputs=first.outputs,
            id=first.id if len(members) == 1 else "",
            parameters=first.parameters,
        )
        trace.batch_size = sum(each.asked.rows for each in members)
        try:
            encoded = codec.encode(request)
        except UnencodableRequest as exc:
            if len(members) > 1:
                # One of them has no form; which one shows when they are apart.
                raise _Unfit from exc
            raise Unsupported(f"model {model.entry.name}: {exc}") from exc
        trace.encode_s = self._clock.monotonic() - begun
        if len(encoded.body) > model.roster.smallest_limit:
            raise _Unfit
        return encoded

    def _shares(self, answer: TargetAnswer) -> list[Shared]:
        model, trace = self._model, self._batch.trace
        codec = model.codec
        assert codec is not None
        begun = self._clock.monotonic()
        try:
            wanted = self._sent[0].asked.request.outputs
            whole = read_answer(model.entry, codec, answer, wanted)
            parts = split(whole, [each.asked.rows for each in self._sent])
            for part in parts:
                check_size(part.outputs, self._answer_limit)
        except MalformedAnswer as exc:
            raise bad_answer(trace.target or model.entry.name, str(exc)) from exc
        trace.decode_s = self._clock.monotonic() - begun
        beside = _without_body(answer)
        return [Shared(part, beside) for part in parts]

    def _send_apart(self) -> None:
        model, batch = self._model, self._batch
        model.counts.batches_apart += 1
        paid: list[Member] = []
        for member in self._sent:
            if member.future.done():
                continue
            if model.retries.try_spend():
                member.asked.trace.retries += 1
                paid.append(member)
            else:
                member.asked.trace.budget_exhausted = True
        batch.send_apart(paid)
        batch.fail(_refused_together(model, len(self._sent)))


def _latest(deadlines: Sequence[float | None]) -> float | None:
    known = [each for each in deadlines if each is not None]
    return max(known) if len(known) == len(deadlines) else None


def _without_body(answer: TargetAnswer) -> TargetAnswer:
    return TargetAnswer(
        b"", answer.content_type, variant=answer.variant, attributes=answer.attributes
    )


def _refused_together(model: RoutedModel, requests: int) -> SimcloudError:
    message = (
        f"a target of model {model.entry.name} refused the batch of {requests} requests that this "
        "one was in, for one of them most likely, and the retry budget was spent before each could "
        "be sent by itself; send it again"
    )
    return NotReady(message, retry_after_s=1.0, model=model.entry.name)
