"""Typed client of the inference-router's frame streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import grpc.aio

from simcloud.client._router_types import (
    Frame,
    FrameAnswer,
    ModelCounts,
    ModelInfo,
    Picture,
    ShadowCounts,
    TargetInfo,
)
from simcloud.concurrency import ChannelClosed, CreditWindow
from simcloud.rpc.channel import MAX_MESSAGE_BYTES, connect
from simcloud.rpc.durations import seconds_of
from simcloud.rpc.settings import TlsSettings
from simcloud.rpc.status import client_errors
from simcloud.v1 import frame_pb2, infer_pb2, infer_pb2_grpc

__all__ = [
    "Frame",
    "FrameAnswer",
    "ModelCounts",
    "ModelInfo",
    "Picture",
    "RouterClient",
    "ShadowCounts",
    "TargetInfo",
]


class RouterClient:
    """Client of one inference-router; any number of streams at once.

    ``async with RouterClient.connect("host:port") as router:`` closes the channel at the end.
    Errors are those of the router, ``simcloud.errors``; nothing is retried here.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Makes a client on a channel, which stays the caller's to close."""
        # gRPC's generated stub is typed for the synchronous stack.
        self._stub: infer_pb2_grpc.InferenceRouterServiceStub = (
            infer_pb2_grpc.InferenceRouterServiceStub(channel)
        )

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        target: str,
        *,
        tls: TlsSettings | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> AsyncIterator[RouterClient]:
        """A client with a channel of its own, closed at the end.

        Args:
            target: ``host:port``, ``dns:///name:port`` or ``unix:/path``.
            tls: certificates; None for plain text.
            max_message_bytes: largest message sent or received: a picture, or an answer.
        """
        async with connect(target, tls=tls, max_message_bytes=max_message_bytes) as channel:
            yield cls(channel)

    async def infer_frames(
        self,
        model: str,
        frames: AsyncIterable[Frame],
        *,
        ordered: bool = True,
        version: str = "",
        accept: str = "",
        parameters: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[FrameAnswer, None]:
        """Sends frames and gives their answers: exactly one a frame, errors of a frame included.

        ``frames`` is read only as far as the router grants credit, which bounds what is in flight.
        Leaving the iteration early (close the generator: ``contextlib.aclosing``) or a cancel ends
        the stream and the requests behind it.

        Args:
            model: name in the router's catalogue.
            frames: what to look at.
            ordered: whether answers come in the order of the frames, or as they finish.
            version: of the model; empty means its default.
            accept: media type wanted back; empty means ``application/json``.
            parameters: for the model with every frame, for example ``score_threshold``.
            timeout_s: for the whole stream.

        Raises:
            SimcloudError: the stream itself failed: NotFound (no such model), PermissionDenied,
                NotReady (the router went down; frames without an answer may be sent again).
            Exception: what ``frames`` raised.
        """
        sender = _Sender(
            infer_pb2.OpenInfer(
                model=model,
                version=version,
                accept=accept,
                unordered=not ordered,
                parameters=dict(parameters or {}),
            )
        )
        call = self._stub.Infer(sender.requests(frames), timeout=timeout_s)
        sender.on_failure = call.cancel
        try:
            with client_errors():
                async for response in call:
                    match response.WhichOneof("message"):
                        case "credit":
                            sender.credit.update(response.credit.granted_frames)
                        case "answer":
                            yield _answer(response.answer)
        except asyncio.CancelledError:
            # Our own cancel of the call, when the frames could not be read any further.
            if sender.failure is not None:
                raise sender.failure from None
            raise
        finally:
            call.cancel()
            sender.credit.close()

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """The catalogue, by name."""
        with client_errors():
            answer = await self._stub.ListModels(infer_pb2.ListModelsRequest())
        return tuple(_model(model) for model in answer.models)

    async def statistics(self, model: str = "") -> tuple[ModelCounts, ...]:
        """Counts of one model, or of all, since the replica began.

        Raises:
            NotFound: no such model.
        """
        with client_errors():
            answer = await self._stub.GetStatistics(infer_pb2.GetStatisticsRequest(model=model))
        return tuple(_counts(counts) for counts in answer.models)


class _Sender:
    """The requests of one stream: as many frames as there is credit for."""

    def __init__(self, opened: infer_pb2.OpenInfer) -> None:
        self.credit = CreditWindow()
        self.failure: Exception | None = None
        self._opened = opened
        self.on_failure: Callable[[], object] | None = None

    async def requests(self, frames: AsyncIterable[Frame]) -> AsyncIterator[infer_pb2.InferRequest]:
        yield infer_pb2.InferRequest(open=self._opened)
        try:
            async for frame in frames:
                await self.credit.take(1)
                yield infer_pb2.InferRequest(frame=_frame(frame))
        except ChannelClosed:
            return
        except Exception as exc:
            # gRPC would log it and end the stream with a status of its own.
            self.failure = exc
            if self.on_failure is not None:
                self.on_failure()


def _frame(frame: Frame) -> infer_pb2.InferFrame:
    picture = frame.picture
    if isinstance(picture, Picture):
        inline = infer_pb2.InlinePicture(media_type=picture.media_type, data=picture.data)
        return infer_pb2.InferFrame(id=frame.id, inline=inline)
    ref = frame_pb2.FrameRef(
        bucket=picture.bucket,
        key=picture.key,
        etag=picture.etag,
        offset=picture.offset,
        length=picture.length,
        media_type=picture.media_type,
    )
    return infer_pb2.InferFrame(id=frame.id, ref=ref)


def _answer(message: infer_pb2.InferAnswer) -> FrameAnswer:
    timings = message.timings
    return FrameAnswer(
        id=message.id,
        code=message.code,
        reason=message.reason,
        message=message.message,
        retryable=message.retryable,
        media_type=message.media_type,
        body=message.body,
        target=message.target,
        attempts=message.attempts,
        queue_s=seconds_of(timings.queue),
        fetch_s=seconds_of(timings.fetch),
        target_s=seconds_of(timings.target),
        total_s=seconds_of(timings.total),
    )


def _model(message: infer_pb2.ModelDescription) -> ModelInfo:
    return ModelInfo(
        name=message.name,
        versions=tuple(message.versions),
        digest=message.digest,
        task=message.task,
        labels=tuple(message.labels),
        targets=tuple(
            TargetInfo(
                name=target.name,
                kind=target.kind,
                ready=target.ready,
                weight=target.weight,
                in_flight=target.in_flight,
                limit=target.limit,
                tier=target.tier,
                ejected=target.ejected,
                role=target.role,
            )
            for target in message.targets
        ),
    )


def _counts(message: infer_pb2.ModelCounts) -> ModelCounts:
    return ModelCounts(
        model=message.model,
        requests=message.requests,
        succeeded=message.succeeded,
        retries=message.retries,
        request_bytes=message.request_bytes,
        response_bytes=message.response_bytes,
        target_s=seconds_of(message.target_time),
        queue_s=seconds_of(message.queue_time),
        failed=dict(message.failed),
        hedges=message.hedges,
        hedges_won=message.hedges_won,
        retry_budget_exhausted=message.retry_budget_exhausted,
        canary_requests=message.canary_requests,
        shadow=_shadow(message.shadow) if message.HasField("shadow") else None,
        executions=message.executions,
        batched_requests=message.batched_requests,
        batches_sent_apart=message.batches_sent_apart,
    )


def _shadow(message: infer_pb2.ShadowCounts) -> ShadowCounts:
    return ShadowCounts(
        target=message.target,
        sent=message.sent,
        dropped=message.dropped,
        agreed=message.agreed,
        differed=message.differed,
        failed=message.failed,
        incomparable=message.incomparable,
        matched=message.matched,
        missing=message.missing,
        extra=message.extra,
    )
