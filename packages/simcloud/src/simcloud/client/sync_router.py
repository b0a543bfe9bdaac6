"""The router's client for programs that don't use asyncio: notebooks, scripts, thread pools."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Iterable, Mapping
from contextlib import aclosing, contextmanager
from types import TracebackType
from typing import Self, TypeVar

from simcloud.client.pictures import PictureLike, picture_of
from simcloud.client.router import Frame, FrameAnswer, ModelCounts, ModelInfo, RouterClient
from simcloud.concurrency.loop_thread import LoopStopped, LoopThread
from simcloud.errors import Bug, Cancelled
from simcloud.rpc.channel import MAX_MESSAGE_BYTES
from simcloud.rpc.settings import TlsSettings
from simcloud.rpc.status import error_of

__all__ = ["SyncRouterClient"]

T = TypeVar("T")


class SyncRouterClient:
    """``RouterClient`` whose calls block: the same client, in a thread with a loop of its own.

    ``with SyncRouterClient("host:port") as router:`` closes it at the end; without ``with`` call
    ``close``. Any number of threads may use one, and code within a running event loop may too (a
    notebook's cell): the loop there stands still meanwhile. Ctrl-C ends the call and what it asked
    of the router. Errors are ``simcloud.errors``; nothing is retried here.

    Args:
        target: ``host:port``, ``dns:///name:port`` or ``unix:/path``; connected to at the first
            call.
        tls: certificates; None for plain text.
        max_message_bytes: largest message sent or received: a picture, or an answer.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: TlsSettings | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._thread = LoopThread(
            RouterClient.connect(target, tls=tls, max_message_bytes=max_message_bytes),
            name=f"simcloud-router-client {target}",
        )
        # Also when the program ends or the client is forgotten.
        self._finalizer = weakref.finalize(self, self._thread.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends what is still asked (``Cancelled``), and the connection. Idempotent."""
        self._finalizer()

    def infer(
        self,
        picture: PictureLike,
        *,
        model: str,
        version: str = "",
        accept: str = "",
        parameters: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> FrameAnswer:
        """Looks at one picture.

        Args:
            picture: PNG or JPEG bytes, a file's path, (H, W, 3) uint8 RGB pixels, or a ``FrameRef``
                to what the router shall read from S3.
            model: name in the router's catalogue.
            version: of the model; empty means its default.
            accept: media type wanted back; empty means ``application/json``.
            parameters: for the model, for example ``score_threshold``.
            timeout_s: for the call.

        Raises:
            InvalidRequest: it is no picture that a model takes.
            NotFound: no such model, file or object.
            SimcloudError: what else the router or the model answered, as its class.
        """
        frame = Frame("0", picture_of(picture))

        async def one() -> FrameAnswer:
            answers = self._thread.value.infer_frames(
                model,
                _only(frame),
                version=version,
                accept=accept,
                parameters=parameters,
                timeout_s=timeout_s,
            )
            async with aclosing(answers):
                async for answer in answers:
                    return answer
            raise Bug("the router ended the stream without an answer")

        answer = self._run(one())
        if not answer.ok:
            raise error_of(answer.code, answer.reason, answer.message)
        return answer

    def infer_many(
        self,
        pictures: Iterable[PictureLike],
        *,
        model: str,
        version: str = "",
        accept: str = "",
        parameters: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        in_flight: int = 16,
    ) -> Generator[FrameAnswer, None, None]:
        """Looks at pictures, several at once, and gives their answers in their order.

        A picture's error is an answer (``ok`` is false) and the others go on. ``pictures`` is read
        in the calling thread as answers come, so that no more than ``in_flight`` pictures are in
        memory; ``id`` of an answer is the picture's number, from 0. Leaving the loop early ends the
        requests: close the generator, or let it go.

        Args:
            pictures: each as ``infer`` takes it.
            model: as for ``infer``, with the other options.
            version: of the model.
            accept: media type wanted back.
            parameters: for the model with every picture.
            timeout_s: for all of them together.
            in_flight: pictures without an answer, at most; at least 1.

        Raises:
            InvalidRequest: one is no picture (a wrong path or array); it and the later ones are not
                sent.
            SimcloudError: the stream failed as a whole; see ``RouterClient.infer_frames``.
            Exception: what ``pictures`` raised.
        """
        if in_flight < 1:
            raise ValueError(f"in_flight: expected at least 1, found {in_flight}")

        def answers(frames: AsyncIterator[Frame]) -> AsyncGenerator[FrameAnswer, None]:
            return self._thread.value.infer_frames(
                model,
                frames,
                version=version,
                accept=accept,
                parameters=parameters,
                timeout_s=timeout_s,
            )

        frames = (Frame(str(number), picture_of(item)) for number, item in enumerate(pictures))
        with _closed_said():
            yield from self._thread.exchange(frames, answers, in_flight=in_flight)

    def list_models(self) -> tuple[ModelInfo, ...]:
        """The catalogue, by name."""
        return self._run(self._thread.value.list_models())

    def statistics(self, model: str = "") -> tuple[ModelCounts, ...]:
        """Counts of one model, or of all, since the replica began.

        Raises:
            NotFound: no such model.
        """
        return self._run(self._thread.value.statistics(model))

    def _run(self, work: Coroutine[object, object, T]) -> T:
        with _closed_said():
            return self._thread.run(work)


@contextmanager
def _closed_said() -> Generator[None, None, None]:
    try:
        yield
    except LoopStopped:
        raise Cancelled("the client was closed: make another one") from None


async def _only(frame: Frame) -> AsyncIterator[Frame]:
    yield frame
