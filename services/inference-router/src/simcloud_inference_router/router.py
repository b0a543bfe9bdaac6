"""The router without a transport: models, what is asked of them, and what it counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from simcloud.clock import Clock
from simcloud.concurrency.budget import ByteBudget
from simcloud.concurrency.drain import Drain
from simcloud.dataset.frames import FrameRef
from simcloud.errors import InvalidRequest, Unsupported
from simcloud.oip.tensors import Tensor
from simcloud.records import record
from simcloud.rpc.auth import Authorizer
from simcloud.rpc.calls import Told
from simcloud_inference_router.batching.batch import Asked, Batch, Shared
from simcloud_inference_router.batching.execution import Execution
from simcloud_inference_router.batching.former import BatchFormer
from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    Parameter,
    TensorAnswer,
    TensorCodec,
    TensorRequest,
    UnencodableRequest,
)
from simcloud_inference_router.codecs.picture_tensor import answer_form, picture_row
from simcloud_inference_router.codecs.raw_image import encode_picture
from simcloud_inference_router.dispatch import Dispatcher, RoutedModel
from simcloud_inference_router.invocations import canary_value, invocation_of, priority_of
from simcloud_inference_router.quotas import Quotas
from simcloud_inference_router.recorded import Recorded
from simcloud_inference_router.served import Served
from simcloud_inference_router.signature import check_inputs, check_outputs
from simcloud_inference_router.sources import FrameSource
from simcloud_inference_router.statistics import CallTrace
from simcloud_inference_router.target_models import check_target_model
from simcloud_inference_router.targets.base import NEW_SESSION, TakePart, TargetAnswer
from simcloud_inference_router.targets.errors import bad_answer
from simcloud_inference_router.tensor_answers import check_size, read_answer


@record
class Call:
    """Who asks, and until when."""

    caller: str
    """Identity, as ``simcloud.rpc.auth.caller_of`` tells it."""
    deadline: float | None
    """Latest moment on the router's clock; None: the target's timeout alone."""
    traceparent: str = ""
    """W3C trace context for the target; empty: none."""
    patient: bool = False
    """Whether it waits for a slot when the queue is full: requests of streams do."""
    tell: Callable[[Told], None] | None = None
    """Takes what became of each request, for the access log; None: there is none."""


@record
class Picture:
    """One picture to be looked at."""

    id: str
    data: bytes | FrameRef
    media_type: str
    accept: str
    parameters: Mapping[str, str]


@record
class Place:
    """Where a request must go."""

    session: str = ""
    """What keeps its session at one target; empty: none."""
    session_id: str = ""
    """Its session at the endpoint; empty: none."""
    target_model: str = ""
    """Model of a multi-model endpoint; empty: the catalogue's."""


ANYWHERE = Place()

NO_TENSORS = TensorAnswer(())


@record
class ModelAnswer:
    """An answer in tensors, and what the target said beside it."""

    tensors: TensorAnswer
    target: TargetAnswer


TakeAnswer: TypeAlias = Callable[[TensorAnswer], Awaitable[None]]
"""Takes one answer of a model that answers several times."""


_MAX_LAYOUTS = 256
"""Layouts of requests that a model remembers; a client has one or a few."""


def _rows(model: RoutedModel, inputs: Sequence[Tensor]) -> int:
    """Batch size of inputs that are the model's; looked at once for each layout.

    Raises:
        InvalidRequest: they are not.
    """
    layout = tuple([(each.name, each.datatype, each.shape) for each in inputs])
    rows = model.layouts.get(layout)
    if rows is None:
        rows = check_inputs(model.entry, inputs)
        if len(model.layouts) < _MAX_LAYOUTS:
            model.layouts[layout] = rows
    return rows


class Router:
    """Answers what the servicers ask.

    Args:
        served: models.
        dispatcher: carries requests to targets.
        source: reads frame refs.
        payloads: bytes of pictures in memory, all streams together.
        authorizer: what callers may do.
        quotas: how often they may ask.
        stream_window: requests of one stream in flight.
        answer_limit: bytes of an answer that gRPC lets through.
        clock: the process's.
        drain: tells streams to end.
    """

    def __init__(
        self,
        *,
        served: Served,
        dispatcher: Dispatcher,
        source: FrameSource,
        payloads: ByteBudget,
        authorizer: Authorizer,
        quotas: Quotas,
        stream_window: int,
        answer_limit: int,
        clock: Clock,
        drain: Drain,
    ) -> None:
        self.served = served
        self.payloads = payloads
        self.quotas = quotas
        self.stream_window = stream_window
        self.answer_limit = answer_limit
        self.clock = clock
        self.drain = drain
        self._dispatcher = dispatcher
        self._source = source
        self.authorizer = authorizer

    @property
    def models(self) -> Mapping[str, RoutedModel]:
        """The models that are served now, by name."""
        return self.served.models

    def model_for(self, caller: str, name: str, version: str = "") -> RoutedModel:
        """The model that a caller named.

        Raises:
            InvalidRequest: it named none.
            NotFound: there is none of that name or version.
            PermissionDenied: it is not for this caller.
        """
        entry = self.served.catalog.model(name, version)
        self.authorizer.check_model(caller, name)
        return self.models[entry.name]

    def models_of(self, caller: str) -> list[RoutedModel]:
        """The models that a caller may use, in the order of the catalogue."""
        return [
            self.models[entry.name]
            for entry in self.served.catalog.models
            if self.authorizer.allows_model(caller, entry.name)
        ]

    def recorded(
        self, model: RoutedModel, trace: CallTrace, call: Call, request_id: str
    ) -> Recorded:
        """Counts the block as one request of the model, whatever becomes of it; the log is told."""
        return Recorded(
            model, trace, self.clock, request_id, deadline=call.deadline, tell=call.tell
        )

    async def infer_tensors(
        self,
        model: RoutedModel,
        request: TensorRequest,
        call: Call,
        trace: CallTrace,
        *,
        place: Place = ANYWHERE,
        on_answer: TakeAnswer | None = None,
    ) -> ModelAnswer:
        """One inference on tensors; called within ``recorded``.

        Args:
            model: whom to ask.
            request: what about.
            call: who asks.
            trace: filled in, whatever becomes of it.
            place: where it must go.
            on_answer: takes each answer of a model that answers several times; the one returned
                then has no outputs. None: the answer is wanted whole.

        Raises:
            InvalidRequest: the tensors are not those of the model's signature.
            Unsupported: the model takes no tensors, or the codec has no form for these.
            TargetError: the target failed, or its answer is not one.
            SimcloudError: what the mapping table says.
        """
        codec = model.codec
        if codec is None:
            raise Unsupported(f"model {model.entry.name} takes pictures only: use Infer")
        if place.target_model:
            check_target_model(model.entry, place.target_model)
        begun = self.clock.monotonic()
        trace.batch_size = _rows(model, request.inputs)
        if model.batches is not None and on_answer is None and not place.session:
            shared = await self._with_others(
                model, model.batches, request, call, trace=trace, place=place
            )
            if shared is not None:
                return ModelAnswer(shared.tensors, shared.target)
            trace.batched = trace.together = False
            begun = self.clock.monotonic()
        try:
            encoded = codec.encode(request)
        except UnencodableRequest as exc:
            raise Unsupported(f"model {model.entry.name}: {exc}") from exc
        trace.encode_s = self.clock.monotonic() - begun
        on_part: TakePart | None = None
        if on_answer is not None:
            take = on_answer

            async def on_part(part: TargetAnswer) -> None:
                trace.response_bytes += len(part.body)
                await take(self._decoded(model, codec, request, part, trace))

        answer = await self._dispatch(
            model,
            encoded,
            request.id,
            call,
            trace,
            parameters=request.parameters,
            place=place,
            on_part=on_part,
        )
        if place.session_id == NEW_SESSION and not answer.session:
            raise bad_answer(trace.target, "the model was asked for a session and made none")
        if on_answer is not None:
            decoded = NO_TENSORS
        else:
            decoded = self._decoded(model, codec, request, answer, trace)
        return ModelAnswer(decoded, answer)

    async def _with_others(
        self,
        model: RoutedModel,
        batches: BatchFormer,
        request: TensorRequest,
        call: Call,
        *,
        trace: CallTrace,
        place: Place,
    ) -> Shared | None:
        """The answer as part of a batch; None: the request is to be sent by itself."""

        async def execute(batch: Batch) -> None:
            await Execution(
                model,
                batches,
                batch,
                dispatcher=self._dispatcher,
                answer_limit=self.answer_limit,
                clock=self.clock,
            ).run()

        asked = Asked(
            request=request,
            rows=trace.batch_size,
            caller=call.caller,
            deadline=call.deadline,
            patient=call.patient,
            target_model=place.target_model,
            traceparent=call.traceparent,
            trace=trace,
        )
        return await batches.infer(asked, execute)

    def _decoded(
        self,
        model: RoutedModel,
        codec: TensorCodec,
        request: TensorRequest,
        answer: TargetAnswer,
        trace: CallTrace,
    ) -> TensorAnswer:
        begun = self.clock.monotonic()
        try:
            read = read_answer(model.entry, codec, answer, request.outputs)
            check_size(read.outputs, self.answer_limit)
        except MalformedAnswer as exc:
            raise bad_answer(trace.target or model.entry.name, str(exc)) from exc
        trace.decode_s += self.clock.monotonic() - begun
        return read

    async def infer_picture(
        self, model: RoutedModel, picture: Picture, call: Call, trace: CallTrace
    ) -> TargetAnswer:
        """One inference on a picture, counted.

        Args:
            model: whom to ask.
            picture: what about.
            call: who asks.
            trace: filled in, whatever becomes of it.

        Raises:
            Unsupported: the model takes no pictures.
            SimcloudError: as ``infer_tensors``, and what reading a frame ref raises.
        """
        with self.recorded(model, trace, call, picture.id):
            if model.entry.picture_codec is None:
                raise Unsupported(f"model {model.entry.name} takes tensors only: use ModelInfer")
            data = picture.data
            if isinstance(data, FrameRef):
                begun = self.clock.monotonic()
                try:
                    data = await self._source.read(data, deadline=call.deadline)
                finally:
                    trace.fetch_s = self.clock.monotonic() - begun
            if model.entry.picture_codec == "tensor":
                return await self._infer_row(model, picture, data, call, trace)
            encoded = encode_picture(
                data,
                media_type=picture.media_type,
                accept=picture.accept,
                parameters=picture.parameters,
            )
            return await self._dispatch(
                model, encoded, picture.id, call, trace, parameters=picture.parameters
            )

    async def _infer_row(
        self, model: RoutedModel, picture: Picture, data: bytes, call: Call, trace: CallTrace
    ) -> TargetAnswer:
        """One inference on a picture as a row of the model's one input."""
        write = answer_form(picture.accept)
        request = TensorRequest(
            inputs=(picture_row(model.entry.inputs[0], data, media_type=picture.media_type),),
            outputs=check_outputs(model.entry, ()),
            id=picture.id,
            parameters=picture.parameters,
        )
        answer = await self.infer_tensors(model, request, call, trace)
        try:
            encoded = write(model.entry, picture.id, answer.tensors)
            if len(encoded.body) > self.answer_limit:
                raise MalformedAnswer(
                    f"as {encoded.content_type} its outputs are {len(encoded.body)} bytes, at most "
                    f"{self.answer_limit} are sent"
                )
        except MalformedAnswer as exc:
            raise bad_answer(trace.target, str(exc)) from exc
        return TargetAnswer(encoded.body, encoded.content_type)

    def check_picture(self, caller: str, model: RoutedModel, picture: Picture) -> int:
        """Checks what can be known before anything is read.

        Returns:
            Bytes that the picture will take in memory.

        Raises:
            InvalidRequest: it is empty or larger than the target takes.
            PermissionDenied: the bucket is not for this caller.
        """
        data = picture.data
        size = data.length if isinstance(data, FrameRef) else len(data)
        limit = min(model.roster.max_request_bytes, self.payloads.limit)
        if not 1 <= size <= limit:
            where = "frame.ref.length" if isinstance(data, FrameRef) else "frame.inline.data"
            problem = f"expected 1 to {limit} bytes for model {model.entry.name}, found {size}"
            if size:
                problem += f"; {self._what_limits(limit)}"
            raise InvalidRequest(where, problem)
        if isinstance(data, FrameRef):
            self.authorizer.check_bucket(caller, data.bucket, data.key)
        return size

    def _what_limits(self, limit: int) -> str:
        if limit == self.payloads.limit:
            return "the limit is the router's payload_budget_bytes, below what its targets take"
        return "the limit is max_request_bytes, the largest of the model's targets"

    def _dispatch(
        self,
        model: RoutedModel,
        encoded: Encoded,
        request_id: str,
        call: Call,
        trace: CallTrace,
        *,
        parameters: Mapping[str, Parameter],
        place: Place = ANYWHERE,
        on_part: TakePart | None = None,
    ) -> Awaitable[TargetAnswer]:
        # Not a coroutine of its own: each one around a request costs at every step of it.
        invocation = invocation_of(
            encoded,
            request_id=request_id,
            traceparent=call.traceparent,
            session=place.session,
            session_id=place.session_id,
            target_model=place.target_model,
            on_part=on_part,
        )
        return self._dispatcher.call(
            model,
            invocation,
            deadline=call.deadline,
            patient=call.patient,
            trace=trace,
            caller=call.caller,
            priority=priority_of(parameters) if parameters else 0,
            canary_value=canary_value(model.entry, parameters) if parameters else "",
        )
