"""A report from what S3 holds: metrics, pictures and figures, written beside the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from simcloud.client.cost import GenerationCost, cost_from_json
from simcloud.dataset.layout import ModelKey, RunLocation
from simcloud.dataset.reader import Dataset
from simcloud.report.choose import best, caption, worst
from simcloud.report.costs import DEFAULT_INSTANCE, CostEstimate, estimate
from simcloud.report.howto import DataLocation, recipes
from simcloud.report.overlays import data_uri, decode, draw_match, jpeg
from simcloud.report.page import (
    Accounting,
    Performance,
    PictureCard,
    ReportData,
    StageTime,
    render,
)
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.labels import PICTURE
from simcloud.scoring.matching import FrameMatch, match_frame
from simcloud.scoring.metrics import Metrics, evaluate
from simcloud.scoring.slices import Sliced, slice_by_parameters
from simcloud.scoring.types import ScoredFrame
from simcloud.spec.plan import CountingRule

PICTURES = 6
"""Pictures of each kind in a report."""
_PICTURE_WIDTH_PX = 640


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model is worth on a run."""

    metrics: Metrics
    slices: list[Sliced]
    matches: list[FrameMatch]


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report and where it is."""

    html: bytes
    metrics_json: bytes
    html_key: str
    metrics_key: str
    evaluation: Evaluation
    performance: Performance


def evaluate_run(frames: Sequence[ScoredFrame], rule: CountingRule) -> Evaluation:
    """Metrics and slices of scored frames."""
    labels = sorted(set(rule.labels.values()))
    matches = [match_frame(frame) for frame in frames]
    return Evaluation(
        metrics=evaluate(frames, labels, matches=matches),
        slices=slice_by_parameters(frames, matches, labels),
        matches=matches,
    )


def cost_of(dataset: Dataset) -> GenerationCost | None:
    """What its maker said that rendering took; None when it said nothing."""
    return cost_from_json(dataset.manifest.provenance.get("generation"))


def performance_of(
    dataset: Dataset,
    *,
    cost: GenerationCost | None,
    score_images_per_s: float | None = None,
    instance: str = DEFAULT_INSTANCE,
) -> Performance:
    """Speed and cost of a run.

    Args:
        dataset: the run.
        cost: what rendering took; None when nobody knows.
        score_images_per_s: speed of scoring, when it was scored just now.
        instance: whose price is taken.

    Raises:
        NotFound: no price for the instance.
    """
    manifest = dataset.manifest
    rendered = cost.rendered_frames if cost else 0
    priced: CostEstimate | None = None
    if cost is not None and rendered:
        images = rendered * len(manifest.cameras)
        priced = estimate(cpu_s=cost.cpu_s, images=images, instance=instance)
    return Performance(
        images_per_s=cost.images_per_s if cost else None,
        wall_s=cost.wall_s if cost else None,
        bytes_stored=manifest.stored_bytes,
        bytes_per_frame=(
            manifest.stored_bytes / manifest.stored_frames if manifest.stored_frames else None
        ),
        idle_share=cost.idle_share if cost else None,
        cpu_s=cost.cpu_s if cost else None,
        stages=tuple(
            StageTime(name=name, total_s=total, per_frame_s=total / rendered)
            for name, total in (cost.stages if cost and rendered else {}).items()
        ),
        score_images_per_s=score_images_per_s,
        cost=priced,
    )


async def write_report(
    *,
    store: ObjectStore,
    dataset: Dataset,
    model: ModelKey,
    frames: Sequence[ScoredFrame],
    rule: CountingRule,
    accounting: Accounting,
    performance: Performance,
    where: DataLocation,
) -> WrittenReport:
    """Makes the report and metrics.json and puts both into S3, over older ones.

    Raises:
        StorageError: S3 failed.
    """
    evaluation = evaluate_run(frames, rule)
    location = dataset.location
    name = str(model)
    data = ReportData(
        run=location.run,
        uri=location.uri,
        model=name,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        accounting=accounting,
        metrics=evaluation.metrics,
        slices=evaluation.slices,
        performance=performance,
        best=await _cards(dataset, frames, evaluation, best(frames, evaluation.matches, PICTURES)),
        worst=await _cards(
            dataset, frames, evaluation, worst(frames, evaluation.matches, PICTURES)
        ),
        provenance=_provenance(dataset, rule),
        recipes=recipes(where, predictions=name),
    )
    html = render(data).encode()
    metrics = _metrics_json(data, evaluation)
    html_key, metrics_key = _keys(location, model)
    await store.put(location.bucket, html_key, html, content_type="text/html; charset=utf-8")
    await store.put(location.bucket, metrics_key, metrics)
    return WrittenReport(
        html=html,
        metrics_json=metrics,
        html_key=html_key,
        metrics_key=metrics_key,
        evaluation=evaluation,
        performance=performance,
    )


def _keys(location: RunLocation, model: ModelKey) -> tuple[str, str]:
    return location.report_key(model, "report.html"), location.report_key(model, "metrics.json")


async def _cards(
    dataset: Dataset,
    frames: Sequence[ScoredFrame],
    evaluation: Evaluation,
    positions: Sequence[int],
) -> list[PictureCard]:
    cards = []
    for position in positions:
        frame, match = frames[position], evaluation.matches[position]
        picture = decode(await dataset.layer(frame.frame, frame.camera, PICTURE))
        drawn = draw_match(picture, frame.truths, match)
        cards.append(
            PictureCard(
                title=f"frame {frame.frame}, camera {frame.camera}",
                caption=caption(match),
                data_uri=data_uri(jpeg(drawn, max_width_px=_PICTURE_WIDTH_PX)),
            )
        )
    return cards


def _provenance(dataset: Dataset, rule: CountingRule) -> dict[str, str]:
    manifest = dataset.manifest
    shown = {
        "spec digest": manifest.spec_digest,
        "scene digest": dataset.spec.scene.digest,
        "renderer": f"{dataset.spec.renderer.backend} {dataset.spec.renderer.variant}",
        "render fingerprints": ", ".join(manifest.fingerprints),
        "plan generation": str(manifest.generation),
        "shards": str(len(manifest.shards)),
        "counting rule": (
            f"visible fraction >= {rule.min_visible_fraction}, >= {rule.min_visible_px} px; "
            f"ignored predictions: {', '.join(rule.ignored_predictions) or 'none'}"
        ),
    }
    for name, value in manifest.provenance.items():
        if name != "generation":
            shown[name] = value if isinstance(value, str) else json.dumps(value)
    return shown


def _metrics_json(data: ReportData, evaluation: Evaluation) -> bytes:
    performance = data.performance
    document: Mapping[str, object] = {
        "version": "simcloud.metrics/v1",
        "run": data.run,
        "uri": data.uri,
        "model": data.model,
        "created": data.created,
        "accounting": accounting_json(data.accounting),
        "metrics": evaluation.metrics.as_json(),
        "slices": [item.as_json() for item in evaluation.slices],
        "performance": performance_json(performance),
        "provenance": dict(data.provenance),
    }
    return json.dumps(document, indent=1).encode()


def accounting_json(accounting: Accounting) -> dict[str, object]:
    """The counts as plain data."""
    return {
        "planned": accounting.planned,
        "stored": accounting.stored,
        "quarantined": accounting.quarantined,
        "quarantined_by_rule": dict(accounting.quarantined_by_rule),
        "scored": accounting.scored,
        "balanced": accounting.balanced,
    }


def performance_json(performance: Performance) -> dict[str, object]:
    """Speed and cost as plain data."""
    return {
        "images_per_s": performance.images_per_s,
        "wall_s": performance.wall_s,
        "cpu_s": performance.cpu_s,
        "idle_share": performance.idle_share,
        "bytes_stored": performance.bytes_stored,
        "bytes_per_frame": performance.bytes_per_frame,
        "stage_s_per_frame": {stage.name: stage.per_frame_s for stage in performance.stages},
        "score_images_per_s": performance.score_images_per_s,
        "cost": performance.cost.as_json() if performance.cost else None,
    }
