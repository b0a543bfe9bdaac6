"""One ModelInferRequest to its answers: where it must go, and what is put into the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from simcloud.errors import Unsupported
from simcloud.oip.pool import OipMessage
from simcloud_inference_router.classification import classified
from simcloud_inference_router.codecs.base import MalformedAnswer, Parameter, TensorAnswer
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.oip_wire import WireRequest, fill_answer, request_from_wire
from simcloud_inference_router.request_parameters import (
    CLOSED_SESSION,
    CUSTOM_ATTRIBUTES,
    SESSION,
    Session,
)
from simcloud_inference_router.router import (
    ANYWHERE,
    NO_TENSORS,
    Call,
    ModelAnswer,
    Place,
    Router,
    TakeAnswer,
)
from simcloud_inference_router.sequences import (
    StreamSequences,
    Turn,
    is_stateful,
    session_of,
)
from simcloud_inference_router.statistics import CallTrace
from simcloud_inference_router.targets.errors import bad_answer
from simcloud_inference_router.versions import counted_version

FillResponse: TypeAlias = Callable[[OipMessage], None]
StreamModels: TypeAlias = dict[tuple[str, str], RoutedModel]
"""Models that a stream has named, by name and version: what they were then, they are to its end."""
WriteFilled: TypeAlias = Callable[[FillResponse], Awaitable[None]]
"""Sends one of several answers: makes the message, has its ModelInferResponse filled, writes it."""


class Answers:
    """Answers requests on the router's models.

    Args:
        router: whom to ask.
    """

    def __init__(self, router: Router) -> None:
        self._router = router

    async def unary(self, request: OipMessage, call: Call, response: OipMessage) -> None:
        """Fills the one answer to a request.

        Raises:
            SimcloudError: as ``Router.infer_tensors``, and what sequences and models want.
        """
        model = self._model(request, call)
        trace = CallTrace(version=counted_version(model, request.model_version))
        with self._router.recorded(model, trace, call, request.id):
            self._router.quotas.charge(call.caller)
            if _by_line(model):
                raise Unsupported(
                    f"model {model.entry.name} answers several times: use ModelStreamInfer"
                )
            if model.batches is None:
                # Where there are, it may join one that waits already and needs no place of its own.
                model.door.refuse_if_full()
            wire = request_from_wire(model.entry, request)
            session = session_of(model.entry, wire.asked)
            answer = await self._ask(model, wire, call, trace, session=session)
            filled = _tensors_of(model, wire, answer, session)
            final = True if wire.asked.final_response else None
            fill_answer(response, model=model.entry, request=request, answer=filled, final=final)

    async def streamed(
        self,
        request: OipMessage,
        call: Call,
        response: OipMessage,
        *,
        models: StreamModels,
        sequences: StreamSequences,
        write: WriteFilled,
    ) -> bool:
        """Answers a request of a stream.

        Until something is waited for nothing else runs, so that the turns of a sequence are those
        of its requests.

        Args:
            request: what is asked.
            call: who asks.
            response: filled with the last answer.
            models: of the stream; what this request names is put there.
            sequences: of the stream.
            write: sends the answers before the last.

        Returns:
            Whether ``response`` is to be sent: a model that answers several times has sent all,
            unless an empty last one was asked for.

        Raises:
            SimcloudError: as ``unary``.
        """
        named = (request.model_name, request.model_version)
        model = models.get(named)
        if model is None:
            model = models[named] = self._model(request, call)
        trace = CallTrace(version=counted_version(model, request.model_version))
        with self._router.recorded(model, trace, call, request.id):
            self._router.quotas.charge(call.caller)
            wire = request_from_wire(model.entry, request)
            on_answer: TakeAnswer | None = None
            if model.entry.decoupled:

                async def on_answer(part: TensorAnswer) -> None:
                    tensors = _classified(model, wire, part)

                    def fill(message: OipMessage) -> None:
                        fill_answer(
                            message, model=model.entry, request=request, answer=tensors, final=False
                        )

                    await write(fill)

            step = wire.asked.sequence
            if step is None or wire.asked.session is not None:
                session = session_of(model.entry, wire.asked)
                answer = await self._ask(
                    model, wire, call, trace, session=session, on_answer=on_answer
                )
            else:
                async with sequences.turn(model.entry, step) as turn:
                    session = turn.session
                    answer = await self._ask(
                        model, wire, call, trace, session=session, on_answer=on_answer
                    )
                    _remember(turn, answer, stateful=is_stateful(model.entry))
            filled = _tensors_of(model, wire, answer, session)
            final = True if wire.asked.final_response else None
            fill_answer(response, model=model.entry, request=request, answer=filled, final=final)
            return not model.entry.decoupled or wire.asked.final_response

    def _model(self, request: OipMessage, call: Call) -> RoutedModel:
        return self._router.model_for(call.caller, request.model_name, request.model_version)

    def _ask(
        self,
        model: RoutedModel,
        wire: WireRequest,
        call: Call,
        trace: CallTrace,
        *,
        session: Session | None,
        on_answer: TakeAnswer | None = None,
    ) -> Awaitable[ModelAnswer]:
        place = ANYWHERE
        if session is not None or wire.asked.target_model:
            place = Place(
                session=session.key if session is not None else "",
                session_id=session.id if session is not None else "",
                target_model=wire.asked.target_model,
            )
        return self._router.infer_tensors(
            model, wire.tensors, call, trace, place=place, on_answer=on_answer
        )


def _by_line(model: RoutedModel) -> bool:
    return any(target.part_framing == "lines" for target in model.entry.targets)


def _remember(turn: Turn, answer: ModelAnswer, *, stateful: bool) -> None:
    if stateful:
        turn.answered(session_id=answer.target.session, closed=bool(answer.target.closed_session))


def _tensors_of(
    model: RoutedModel, wire: WireRequest, answer: ModelAnswer, session: Session | None
) -> TensorAnswer:
    """The answer with what the target said beside it, as parameters."""
    told: dict[str, Parameter] = {}
    target = answer.target
    if target.session and session is not None:
        told[SESSION] = Session(session.key, target.session).token
    if target.closed_session:
        told[CLOSED_SESSION] = target.closed_session
    if target.attributes:
        told[CUSTOM_ATTRIBUTES] = target.attributes
    tensors = answer.tensors
    if tensors is not NO_TENSORS:
        tensors = _classified(model, wire, tensors)
    return TensorAnswer(tensors.outputs, {**tensors.parameters, **told}) if told else tensors


def _classified(model: RoutedModel, wire: WireRequest, answer: TensorAnswer) -> TensorAnswer:
    if not wire.classes:
        return answer
    entry = model.entry
    try:
        outputs = tuple(
            classified(
                output,
                wire.classes[output.name],
                labels=entry.labels,
                batched=entry.max_batch_size > 0,
            )
            if output.name in wire.classes
            else output
            for output in answer.outputs
        )
    except MalformedAnswer as exc:
        raise bad_answer(entry.name, str(exc)) from exc
    return TensorAnswer(outputs, answer.parameters)
