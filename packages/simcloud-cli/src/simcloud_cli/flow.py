"""What `run`, `resume`, `score` and `report` have in common, between events and terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from simcloud.accounting.reconcile import reconcile
from simcloud.accounting.report import Report
from simcloud.client.cost import GenerationCost
from simcloud.client.events import FirstPicture, RunStored
from simcloud.client.run import RunDriver, RunRequest
from simcloud.dataset.layout import ModelKey, RunLocation
from simcloud.dataset.quarantine import by_rule
from simcloud.dataset.reader import Dataset
from simcloud.dataset.rundoc import newest_plan
from simcloud.errors import NotFound
from simcloud.report.page import Accounting
from simcloud.report.write import WrittenReport, cost_of, performance_of, write_report
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.events import FrameUnscored, ScoreEnded, ScoreEvent
from simcloud.scoring.job import ScoreJob, find_model
from simcloud.scoring.stored_predictions import load_scored
from simcloud.spec.plan import CountingRule
from simcloud_cli.firstpicture import write_first_picture
from simcloud_cli.progress import RunProgress
from simcloud_cli.session import Session


class Scorer(Protocol):
    """What scores a run: through a router, or as a job of SageMaker's."""

    @property
    def key(self) -> ModelKey:
        """What the predictions are called."""
        ...

    def run(self) -> AsyncGenerator[ScoreEvent]:
        """Scores what has no predictions; ``ScoreEnded`` is last."""
        ...


ScorerOf = Callable[[Dataset], Awaitable[Scorer]]
"""Makes the scorer of a run."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """A scored run and its report."""

    model: ModelKey
    report: WrittenReport | None
    """None when frames have no answer."""
    report_path: Path | None
    counts: Report
    """Counted in S3, after scoring."""
    unscored: tuple[FrameUnscored, ...]
    """Frames that have no answer, as far as this call asked; empty with a report."""


async def generate(
    session: Session, request: RunRequest, progress: RunProgress, folder: Path
) -> RunStored:
    """Drives a run to its end; the first picture goes to ``folder`` on the way."""
    driver = RunDriver(
        generator=session.generator,
        uploader=session.uploader,
        request=request,
        uploader_target=session.context.uploader_for_generator,
    )
    async with aclosing(driver.generate()) as events:
        async for event in events:
            if isinstance(event, FirstPicture):
                path = write_first_picture(folder, event.frames)
                if path is not None:
                    progress.say(f"first picture: {path}")
            progress.run = request.location.run
            progress.run_event(event)
            if isinstance(event, RunStored):
                return event
    raise AssertionError("a generation ends with RunStored")


async def score_and_report(
    session: Session,
    location: RunLocation,
    model: str,
    progress: RunProgress,
    folder: Path,
    *,
    score: bool = True,
    cost: GenerationCost | None = None,
    scorer_of: ScorerOf | None = None,
) -> Scoring:
    """Scores a published run where it isn't scored yet, and writes its report.

    Args:
        session: with a router; not needed without ``score``.
        location: the run.
        model: of the router's catalogue; `<name>@<digest>` or the name of the predictions that are
            there, without ``score``.
        progress: shown on the way.
        folder: gets a copy of the report and metrics.json.
        score: False only reports what is scored.
        cost: what rendering took just now; by default what the manifest says.
        scorer_of: what scores; None: the session's router.
    """
    store = session.store
    dataset = await Dataset.open(store, location)
    speed: float | None = None
    unscored: tuple[FrameUnscored, ...] = ()
    if score:
        job = await (scorer_of or _by_router(session, model))(dataset)
        key = job.key
        async with aclosing(job.run()) as events:
            async for event in events:
                progress.score_event(event)
                if isinstance(event, ScoreEnded):
                    unscored = event.unscored
                    if event.scored_now and event.wall_s > 0:
                        speed = event.scored_now / event.wall_s
    else:
        key = await stored_model(store, location, model)
    counts = await reconcile(store, location, model=key)
    if counts.unscored:
        return Scoring(key, None, None, counts, unscored)
    found = await newest_plan(store, location)
    rule = found[1].counting if found else CountingRule()
    report = await write_report(
        store=store,
        dataset=dataset,
        model=key,
        frames=await load_scored(store, dataset, key, rule),
        rule=rule,
        accounting=Accounting(
            planned=counts.planned,
            stored=counts.stored,
            quarantined=counts.quarantined,
            scored=counts.scored or 0,
            quarantined_by_rule=by_rule(counts.quarantine),
        ),
        performance=performance_of(
            dataset, cost=cost or cost_of(dataset), score_images_per_s=speed
        ),
        where=session.data_location(location, len(dataset.shards) - 1),
    )
    path = folder / "report.html"
    path.write_bytes(report.html)
    (folder / "metrics.json").write_bytes(report.metrics_json)
    # What this call got no answer for, another one has scored meanwhile.
    return Scoring(key, report, path, counts, ())


def _by_router(session: Session, model: str) -> ScorerOf:
    async def scorer_of(dataset: Dataset) -> Scorer:
        info = await find_model(session.router, model)
        return ScoreJob(store=session.store, router=session.router, dataset=dataset, model=info)

    return scorer_of


async def stored_model(store: ObjectStore, location: RunLocation, model: str) -> ModelKey:
    """The newest predictions of a model, by what is in S3.

    Raises:
        NotFound: there are none.
    """
    newest: tuple[str, ModelKey] | None = None
    async for row in store.list_keys(location.bucket, location.key("predictions/")):
        key = location.parse(row.key)
        if key is None or key.model is None or model not in {key.model.model, str(key.model)}:
            continue
        written = row.last_modified.isoformat()
        if newest is None or written > newest[0]:
            newest = (written, key.model)
    if newest is None:
        raise NotFound(
            f"{location} has no predictions of {model}: "
            f"`simcloud score {location.run} --model {model}` makes them"
        )
    return newest[1]
