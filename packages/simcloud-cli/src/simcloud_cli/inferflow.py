"""`infer` without its options' words."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

from simcloud.client.router import Frame, FrameAnswer, ModelInfo, Picture
from simcloud.dataset.frames import FrameRef
from simcloud.errors import PermissionDenied, SimcloudError
from simcloud.report.overlays import decode, draw_classes, draw_detections, jpeg
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.decode import decode_classifications, decode_detections
from simcloud.scoring.job import find_model
from simcloud_cli.embedded import Part
from simcloud_cli.exit_codes import ExitCode, code_of
from simcloud_cli.inferinputs import Input, Place, Problem, each_input, places_of
from simcloud_cli.inferoutput import InferOutput, Seen, writing_to
from simcloud_cli.interrupt import run_async
from simcloud_cli.output import print_error
from simcloud_cli.session import Session, in_session
from simcloud_cli.videoframes import Sampling

_DETECTOR, _CLASSIFIER = "object_detection", "image_classification"
IN_FLIGHT = 16
"""Pictures in memory, at most: read and not yet answered and drawn. The router's credit bounds what
it holds; this bounds us also while drawing is slower than it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferOptions:
    """What to look for, and where the pictures go."""

    model: str
    threshold: float
    """Lowest confidence of a detection."""
    top_k: int
    """Classes of a picture."""
    sampling: Sampling
    output: Path
    json: bool


def infer_paths(arguments: Sequence[str], options: InferOptions) -> ExitCode:
    """Looks at pictures, draws the answers into a folder and prints them.

    Raises:
        InvalidRequest: an argument names nothing; nothing was started.
        SimcloudError: the router, the model or the first answer isn't to be had.
    """
    places = places_of(arguments)

    async def work(session: Session) -> ExitCode:
        tasks = (_DETECTOR, _CLASSIFIER)
        info = await find_model(session.router, options.model, tasks=tasks)
        with InferOutput(options.model, options.output, json=options.json) as output:
            return await _look(session, places, info, options, output)

    return run_async(in_session(frozenset({Part.ROUTER}), work))


async def _look(
    session: Session,
    places: Sequence[Place],
    model: ModelInfo,
    options: InferOptions,
    output: InferOutput,
) -> ExitCode:
    looking = _Looking(session.store, model, options, output.add)
    wanted = {"score_threshold": str(options.threshold), "top_k": str(options.top_k)}
    used = "score_threshold" if model.task == _DETECTOR else "top_k"
    answers = session.router.infer_frames(
        model.name,
        looking.frames(each_input(places, session.store, options.sampling)),
        parameters={used: wanted[used]},
    )
    try:
        async with aclosing(answers):
            async for answer in answers:
                await looking.answered(answer)
    except SimcloudError as error:
        if not output.told:
            raise
        # What was seen before stays, and what was sent is said to have no answer: one document.
        looking.fail(error)
        print_error(error, as_json=False)
        return code_of(error)
    if not looking.sent and looking.first_problem is not None:
        print_error(looking.first_problem, as_json=False)
        return code_of(looking.first_problem)
    return ExitCode.INCOMPLETE if output.failed else ExitCode.COMPLETE


@dataclass(frozen=True, slots=True)
class _Sent:
    """A picture that waits for its answer."""

    number: int
    item: Input


@dataclass(slots=True)
class _Looking:
    """Pictures on their way, in their order, at most ``IN_FLIGHT``."""

    store: ObjectStore
    model: ModelInfo
    options: InferOptions
    tell: Callable[[Seen], None]
    sent: int = 0
    first_problem: SimcloudError | None = None
    _waiting: deque[_Sent | Seen] = field(default_factory=deque)
    """Problems among them wait for the answers before them."""
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))

    async def frames(self, found: AsyncGenerator[Input | Problem, None]) -> AsyncIterator[Frame]:
        """What to send; the next picture is read when there is room for it."""
        async with aclosing(found):
            await self._room.acquire()
            async for item in found:
                if isinstance(item, Problem):
                    self.first_problem = self.first_problem or item.error
                    self._waiting.append(_unseen(item.name, item.error))
                    self._tell_problems()
                else:
                    number = self.sent
                    self.sent += 1
                    self._waiting.append(_Sent(number, item))
                    yield Frame(id=str(number), picture=item.picture)
                await self._room.acquire()

    async def answered(self, answer: FrameAnswer) -> None:
        """Draws and tells the answer to the picture that has waited longest."""
        first = self._waiting[0]
        assert isinstance(first, _Sent)
        assert answer.id == str(first.number), "answers come in the pictures' order"
        self.tell(await self._seen(first, answer))
        self._waiting.popleft()
        self._room.release()
        self._tell_problems()

    def fail(self, error: SimcloudError) -> None:
        """Tells that no answers will come."""
        for item in self._waiting:
            self.tell(item if isinstance(item, Seen) else _unseen(item.item.name, error))
        self._waiting.clear()

    def _tell_problems(self) -> None:
        while self._waiting and isinstance(first := self._waiting[0], Seen):
            self.tell(first)
            self._waiting.popleft()
            self._room.release()

    async def _seen(self, sent: _Sent, answer: FrameAnswer) -> Seen:
        item = sent.item
        seen = Seen(
            name=item.name,
            code=answer.code,
            reason=answer.reason,
            message=_explained(item, answer),
            target=answer.target,
            total_s=answer.total_s,
            frame=item.frame,
            time_s=item.time_s,
        )
        if not answer.ok:
            return seen
        # Two folders may hold the same name: the number keeps their pictures apart.
        path = self.options.output / f"{sent.number:05d}.{item.stem}.jpg"
        try:
            seen = self._decoded(seen, answer)
            data = await self._data(item.picture)
            await asyncio.to_thread(_draw, data, seen, path)
        except SimcloudError as error:
            return replace(
                seen, code=error.code.value[0], reason=error.reason, message=error.message
            )
        return replace(seen, drawn=str(path))

    def _decoded(self, seen: Seen, answer: FrameAnswer) -> Seen:
        body, media_type, labels = answer.body, answer.media_type, self.model.labels
        if self.model.task == _CLASSIFIER:
            classes = decode_classifications(
                body, media_type=media_type, labels=labels, top_k=self.options.top_k
            )
            return replace(seen, classifications=classes)
        found = decode_detections(
            body, media_type=media_type, labels=labels, threshold=self.options.threshold
        )
        return replace(seen, detections=found)

    async def _data(self, picture: Picture | FrameRef) -> bytes:
        if isinstance(picture, Picture):
            return picture.data
        body = await self.store.get(picture.bucket, picture.key, if_match=picture.etag)
        return body.data


def _draw(data: bytes, seen: Seen, path: Path) -> None:
    picture = decode(data)
    drawn = (
        draw_classes(picture, seen.classifications)
        if seen.classifications
        else draw_detections(picture, seen.detections)
    )
    with writing_to(path.parent):
        path.write_bytes(jpeg(drawn))


def _unseen(name: str, error: SimcloudError) -> Seen:
    return Seen(name=name, code=error.code.value[0], reason=error.reason, message=error.message)


def _explained(item: Input, answer: FrameAnswer) -> str:
    if answer.reason != PermissionDenied.reason or not isinstance(item.picture, FrameRef):
        return answer.message
    return (
        f"{answer.message}; the router reads pictures in S3 itself: name the bucket in its "
        "SIMCLOUD_INFERENCE_ROUTER_ALLOWED_BUCKETS, or download the pictures and name their folder"
    )
