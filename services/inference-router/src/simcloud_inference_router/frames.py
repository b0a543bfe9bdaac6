"""InferenceRouterService: wire messages to the router and back, nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

import grpc.aio
from google.protobuf.duration_pb2 import Duration

from simcloud.dataset.frames import FrameRef
from simcloud.errors import InvalidRequest, SimcloudError
from simcloud.rpc.auth import caller_of
from simcloud.rpc.durations import duration_of
from simcloud.rpc.status import shortened
from simcloud.v1 import infer_pb2, infer_pb2_grpc
from simcloud_inference_router.calls import call_of, writer_of
from simcloud_inference_router.codecs.base import (
    MAX_PARAMETERS_BYTES,
    fits_header,
    header_size,
)
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.frame_stream import FrameAnswer, FrameStream, Refused
from simcloud_inference_router.router import Picture, Router
from simcloud_inference_router.routing.routed_target import State, TargetSnapshot
from simcloud_inference_router.routing.shadow import Shadow
from simcloud_inference_router.targets.base import MAX_ID_BYTES

FULL_NAME = "simcloud.v1.InferenceRouterService"

MAX_PARAMETERS = 16
MAX_PARAMETER_BYTES = 256
MAX_KEY_BYTES = 1024
"""S3's own limit."""

_MEDIA_TYPE = re.compile(r"[!-.0-~]{1,127}/[!-~](?:[ -~]{0,253}[!-~])?")
_KNOWN_MEDIA_TYPES = frozenset({"image/jpeg", "image/png"})
# Of one object's contents: neither a star nor a list, which If-Match would take.
_ETAG = re.compile(r"[!#-)+\--~]{0,256}|\"[!#-)+\--~]{0,254}\"")
# Some S3-compatible servers resolve dots as a file system would: past the allow-list.
_UNSAFE_KEY = re.compile(r"^/|(?:^|/)\.{1,2}(?:/|$)|[\x00-\x1f\x7f]")

InferContext = grpc.aio.ServicerContext[infer_pb2.InferRequest, infer_pb2.InferResponse]


class InferenceRouterServicer(infer_pb2_grpc.InferenceRouterServiceServicer):
    """The service.

    Args:
        router: what answers.
    """

    def __init__(self, router: Router) -> None:
        self._router = router

    async def Infer(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[infer_pb2.InferRequest], context: InferContext
    ) -> None:
        """Frames in, answers out."""
        opened = await _open_of(request_iterator)
        caller = caller_of(context)
        model = self._router.model_for(caller, opened.model, opened.version)
        parameters = _parameters(opened.parameters)
        if opened.accept:
            _check_media_type("open.accept", opened.accept)
        send = writer_of(context)
        await send(
            infer_pb2.InferResponse(
                opened=infer_pb2.InferOpened(
                    version=opened.version or model.entry.versions[0],
                    model_digest=model.entry.digest,
                )
            )
        )

        async def write(answer: FrameAnswer) -> None:
            await send(_answer_to_wire(answer))

        async def grant(total: int) -> None:
            credit = infer_pb2.InferCredit(granted_frames=total)
            await send(infer_pb2.InferResponse(credit=credit))

        stream = FrameStream(
            self._router,
            model=model,
            version=opened.version,
            call=call_of(context, clock=self._router.clock, patient=True),
            ordered=not opened.unordered,
            write=write,
            grant=grant,
        )
        accept = opened.accept

        def read(request: infer_pb2.InferRequest) -> Picture | Refused:
            return _frame(request, accept, parameters)

        await stream.run(request_iterator, read)

    async def ListModels(  # noqa: N802 - the contract's name
        self,
        request: infer_pb2.ListModelsRequest,
        context: grpc.aio.ServicerContext[
            infer_pb2.ListModelsRequest, infer_pb2.ListModelsResponse
        ],
    ) -> infer_pb2.ListModelsResponse:
        """The catalogue."""
        models = self._router.models_of(caller_of(context))
        models.sort(key=lambda model: model.entry.name)
        return infer_pb2.ListModelsResponse(models=[_model_to_wire(model) for model in models])

    async def GetStatistics(  # noqa: N802 - the contract's name
        self,
        request: infer_pb2.GetStatisticsRequest,
        context: grpc.aio.ServicerContext[
            infer_pb2.GetStatisticsRequest, infer_pb2.GetStatisticsResponse
        ],
    ) -> infer_pb2.GetStatisticsResponse:
        """Counts of one model or of all."""
        caller = caller_of(context)
        if request.model:
            models = [self._router.model_for(caller, request.model)]
        else:
            models = self._router.models_of(caller)
        return infer_pb2.GetStatisticsResponse(
            models=[
                _counts_to_wire(model)
                for model in sorted(models, key=lambda model: model.entry.name)
            ]
        )


async def _open_of(requests: AsyncIterator[infer_pb2.InferRequest]) -> infer_pb2.OpenInfer:
    async for first in requests:
        if first.WhichOneof("message") == "open":
            return first.open
        break
    raise InvalidRequest("open", "must be the stream's first message")


def _parameters(found: Mapping[str, str]) -> dict[str, str]:
    """Parameters of the stream.

    Raises:
        InvalidRequest: too many, too long, or not fit for the header that they travel in: one that
            was left out would silently change the answers.
    """
    if len(found) > MAX_PARAMETERS:
        problem = f"at most {MAX_PARAMETERS}, found {len(found)}"
        raise InvalidRequest("open.parameters", problem)
    for name, value in found.items():
        field = f"open.parameters[{name[:32]}]"
        for text in (name, value):
            size = len(text.encode())
            if not 1 <= size <= MAX_PARAMETER_BYTES:
                problem = f"expected 1 to {MAX_PARAMETER_BYTES} bytes, found {size}"
                raise InvalidRequest(field, problem)
            if not fits_header(text):
                problem = "must be visible ASCII without `;`, `,` and `=`: it travels in a header"
                raise InvalidRequest(field, problem)
    size = header_size(found)
    if size > MAX_PARAMETERS_BYTES:
        problem = f"at most {MAX_PARAMETERS_BYTES} bytes with two for each, found {size}"
        raise InvalidRequest("open.parameters", problem)
    return dict(found)


def _check_media_type(field: str, found: str) -> None:
    if not _MEDIA_TYPE.fullmatch(found):
        raise InvalidRequest(field, f"expected a media type, found {found[:64]!r}")


def _frame(
    request: infer_pb2.InferRequest, accept: str, parameters: Mapping[str, str]
) -> Picture | Refused:
    if request.WhichOneof("message") != "frame":
        raise InvalidRequest("frame", "after `open` every message must be a frame")
    frame = request.frame
    try:
        return _picture(frame, accept, parameters)
    except SimcloudError as exc:
        # An id that is too long comes back cut: the client may have a window of them.
        return Refused(frame.id[:MAX_ID_BYTES], exc)


def _picture(frame: infer_pb2.InferFrame, accept: str, parameters: Mapping[str, str]) -> Picture:
    # Each attribute of a message is made anew: once.
    frame_id = frame.id
    size = len(frame_id) if frame_id.isascii() else len(frame_id.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise InvalidRequest("frame.id", f"expected 1 to {MAX_ID_BYTES} bytes, found {size}")
    kind = frame.WhichOneof("picture")
    match kind:
        case "inline":
            inline = frame.inline
            data: bytes | FrameRef = inline.data
            media_type = inline.media_type
        case "ref":
            data = _ref(frame)
            media_type = data.media_type
        case _:
            raise InvalidRequest("frame.picture", "is missing: give `inline` or `ref`")
    if media_type not in _KNOWN_MEDIA_TYPES:
        _check_media_type(f"frame.{kind}.media_type", media_type)
    return Picture(frame_id, data, media_type, accept, parameters)


def _ref(frame: infer_pb2.InferFrame) -> FrameRef:
    ref = frame.ref
    if not ref.bucket or not ref.key:
        raise InvalidRequest("frame.ref", "needs bucket and key")
    if len(ref.key.encode()) > MAX_KEY_BYTES or _UNSAFE_KEY.search(ref.key):
        problem = (
            f"expected at most {MAX_KEY_BYTES} bytes that don't begin with `/`, without `.` and "
            f"`..` between slashes and without control characters, found {ref.key[:64]!r}"
        )
        raise InvalidRequest("frame.ref.key", problem)
    if not _ETAG.fullmatch(ref.etag):
        problem = f"expected an ETag as S3 gave it, found {ref.etag[:64]!r}"
        raise InvalidRequest("frame.ref.etag", problem)
    return FrameRef(
        bucket=ref.bucket,
        key=ref.key,
        etag=ref.etag,
        offset=ref.offset,
        length=ref.length,
        media_type=ref.media_type,
    )


def _answer_to_wire(answer: FrameAnswer) -> infer_pb2.InferResponse:
    # Filled in place: a message given to another's constructor is copied, its body too.
    trace, response = answer.trace, infer_pb2.InferResponse()
    message = response.answer
    message.id = answer.id
    message.media_type = answer.media_type
    message.body = answer.body
    message.target = trace.target
    message.attempts = trace.attempts
    timings = message.timings
    _fill_duration(timings.queue, trace.queue_s)
    _fill_duration(timings.fetch, trace.fetch_s)
    _fill_duration(timings.target, trace.target_s)
    _fill_duration(timings.total, answer.total_s)
    if answer.error is not None:
        message.code = answer.error.code.value[0]
        message.reason = answer.error.reason
        message.message = shortened(answer.error.message)
        message.retryable = answer.error.retryable
    return response


def _fill_duration(message: Duration, seconds: float) -> None:
    if nanos := round(seconds * 1_000_000_000):
        if nanos >= 1_000_000_000:
            message.seconds, nanos = divmod(nanos, 1_000_000_000)
        message.nanos = nanos
    else:
        # There all the same: 0 s, and not unknown.
        message.SetInParent()


def _model_to_wire(model: RoutedModel) -> infer_pb2.ModelDescription:
    entry = model.entry
    return infer_pb2.ModelDescription(
        name=entry.name,
        versions=entry.versions,
        digest=entry.digest,
        task=entry.task,
        labels=entry.labels,
        targets=[_target_to_wire(target) for target in model.snapshot()],
    )


def _target_to_wire(target: TargetSnapshot) -> infer_pb2.TargetDescription:
    return infer_pb2.TargetDescription(
        name=target.name,
        kind=target.kind,
        ready=target.ready,
        weight=target.weight,
        in_flight=target.in_flight,
        limit=target.limit,
        tier=target.tier,
        ejected=target.state is State.EJECTED,
        role=target.role,
    )


def _counts_to_wire(model: RoutedModel) -> infer_pb2.ModelCounts:
    counts = model.counts
    return infer_pb2.ModelCounts(
        model=model.entry.name,
        requests=counts.requests,
        succeeded=counts.succeeded,
        failed=counts.failed,
        retries=counts.retries,
        request_bytes=counts.request_bytes,
        response_bytes=counts.response_bytes,
        target_time=duration_of(counts.target.total_s),
        queue_time=duration_of(counts.queue.total_s),
        hedges=counts.hedges,
        hedges_won=counts.hedges_won,
        retry_budget_exhausted=counts.budget_exhausted,
        canary_requests=model.canary.requests if model.canary is not None else 0,
        shadow=_shadow_to_wire(model.shadow) if model.shadow is not None else None,
        executions=counts.executions,
        batched_requests=counts.batched,
        batches_sent_apart=counts.batches_apart,
    )


def _shadow_to_wire(shadow: Shadow) -> infer_pb2.ShadowCounts:
    counts = shadow.counts
    return infer_pb2.ShadowCounts(
        target=shadow.target.name,
        sent=counts.sent,
        dropped=counts.dropped,
        agreed=counts.agreed,
        differed=counts.differed,
        failed=counts.failed,
        incomparable=counts.incomparable,
        matched=counts.matched,
        missing=counts.missing,
        extra=counts.extra,
    )
