"""What `run`, `resume` and `score` print at their end, and the exit code that says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from simcloud.accounting.report import Report
from simcloud.client.cost import as_json
from simcloud.client.events import RunStored
from simcloud.dataset.layout import RunLocation
from simcloud.report.page import Performance
from simcloud.report.write import performance_json
from simcloud.scoring.metrics import Metrics
from simcloud.spec.model import Spec
from simcloud_cli.counts import counts_json, print_problems
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.flow import Scoring
from simcloud_cli.output import console, human_bytes, print_json, print_table, ratio

_NAMED_FRAMES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    location: RunLocation
    spec: Spec
    stored: RunStored
    scoring: Scoring | None
    counts: Report
    """Counted in S3, at the end."""
    partial: bool
    """Whether this process answered for some of the shards only."""
    folder: Path
    context: str


def print_outcome(outcome: Outcome, *, allow_quarantine: int, json: bool) -> ExitCode:
    """Prints a run's end and gives the exit code."""
    code = exit_code(outcome, allow_quarantine=allow_quarantine)
    if json:
        print_json(_as_json(outcome, code))
        return code
    if outcome.scoring is not None and outcome.scoring.report is not None:
        report = outcome.scoring.report
        print_metrics(report.evaluation.metrics, str(outcome.scoring.model))
        print_performance(report.performance)
    _print_accounting(outcome)
    _print_missing(outcome)
    _print_where(outcome)
    return code


def exit_code(outcome: Outcome, *, allow_quarantine: int) -> ExitCode:
    """0 only when nothing is missing: fail closed."""
    stored = outcome.stored
    if stored.lost or (not stored.published and not outcome.partial):
        return ExitCode.INCOMPLETE
    if not outcome.partial and not outcome.counts.complete_with_quarantine:
        return ExitCode.INCOMPLETE
    if outcome.counts.quarantined > allow_quarantine:
        return ExitCode.QUARANTINED
    return ExitCode.COMPLETE


def print_metrics(metrics: Metrics, model: str) -> None:
    """AP, recall and precision by class."""
    rows = [
        (
            item.label,
            ratio(item.ap50),
            ratio(item.ap),
            ratio(item.recall),
            ratio(item.precision),
            item.truths,
            item.hits,
            item.wrong,
            item.ignored,
        )
        for item in metrics.classes
    ]
    rows.append(
        (
            "all",
            ratio(metrics.map50),
            ratio(metrics.map),
            ratio(metrics.recall),
            ratio(metrics.precision),
            metrics.truths,
            metrics.hits,
            metrics.wrong,
            metrics.ignored,
        )
    )
    columns = ["class", "AP50", "AP", "recall", "precision", "objects", "found", "wrong", "ignored"]
    print_table(f"{model} (recall and precision at {metrics.score_threshold})", columns, rows)


def print_performance(performance: Performance) -> None:
    """Speed, stage times, bytes and cost."""
    rows: list[tuple[str, str]] = []
    if performance.images_per_s is not None:
        rows.append(("images/s", f"{performance.images_per_s:.2f}"))
    stages = "  ".join(f"{item.name} {item.per_frame_s:.3f}" for item in performance.stages)
    if stages:
        rows.append(("stage seconds per frame (they overlap)", stages))
    if performance.idle_share is not None:
        rows.append(("idle share of the workers", f"{100 * performance.idle_share:.1f} %"))
    if performance.score_images_per_s is not None:
        rows.append(("images/s scored", f"{performance.score_images_per_s:.1f}"))
    rows.append(("stored", human_bytes(performance.bytes_stored)))
    if performance.bytes_per_frame is not None:
        rows.append(("bytes/frame", human_bytes(performance.bytes_per_frame)))
    cost = performance.cost
    if cost is not None:
        rows.append(
            (
                "$ per 1k images, estimated",
                f"{cost.usd_per_1k_images:.4f} ({cost.cpu_s_per_image:.2f} CPU-s an image on "
                f"{cost.price.instance} at ${cost.price.usd_per_hour}/h, read {cost.price.read})",
            )
        )
    print_table("", ["", "this run"], rows)


def _print_accounting(outcome: Outcome) -> None:
    counts = outcome.counts
    scored = "-" if counts.scored is None else counts.scored
    print_table(
        "",
        ["planned", "stored", "quarantined", "scored"],
        [(counts.planned, counts.stored, counts.quarantined, scored)],
    )


def _print_missing(outcome: Outcome) -> None:
    out = console(stderr=True)
    for lost in outcome.stored.lost:
        out.print(
            f"missing: shard {lost.frames.shard}, frames {lost.frames.first} to "
            f"{lost.frames.end - 1}: {lost.message}",
            markup=False,
        )
    if not outcome.partial:
        print_problems(outcome.counts)
    scoring = outcome.scoring
    for frame in scoring.unscored[:_NAMED_FRAMES] if scoring else ():
        out.print(
            f"not scored: frame {frame.key[0]} camera {frame.key[1]}: {frame.message}", markup=False
        )
    if scoring is not None and len(scoring.unscored) > _NAMED_FRAMES:
        out.print(f"... and {len(scoring.unscored) - _NAMED_FRAMES} more; --json lists all")


def _print_where(outcome: Outcome) -> None:
    out = console()
    out.print(f"data:   {outcome.location.uri}", markup=False)
    if outcome.scoring is not None and outcome.scoring.report_path is not None:
        out.print(f"report: {outcome.scoring.report_path.resolve()}", markup=False)
    run = outcome.location.run
    out.print(f"look:   simcloud runs show {run}; simcloud verify {run}", markup=False)


def _as_json(outcome: Outcome, code: ExitCode) -> dict[str, object]:
    summary, scoring = outcome.stored.summary, outcome.scoring
    report = scoring.report if scoring else None
    return {
        "run": outcome.location.run,
        "uri": outcome.location.uri,
        "context": outcome.context,
        "exit_code": int(code),
        "published": outcome.stored.published,
        "state": summary.state.value,
        "spec_digest": summary.spec_digest,
        "renderer": outcome.spec.renderer.model_dump(mode="json"),
        "planned_frames": summary.planned_frames,
        "stored_frames": summary.stored_frames,
        "quarantined_frames": summary.quarantined_frames,
        "stored_bytes": summary.stored_bytes,
        "missing_shards": [item.shard for item in summary.missing],
        "lost": [
            {"shard": item.frames.shard, "reason": item.reason, "message": item.message}
            for item in outcome.stored.lost
        ],
        "generation": as_json(outcome.stored.cost),
        "model": str(scoring.model) if scoring else None,
        "accounting": counts_json(outcome.counts),
        "unscored": [
            {"frame": item.key[0], "camera": item.key[1], "reason": item.reason}
            for item in (scoring.unscored if scoring else ())
        ],
        "metrics": report.evaluation.metrics.as_json() if report else None,
        "performance": performance_json(report.performance) if report else None,
        "report": str(scoring.report_path) if scoring and scoring.report_path else None,
        "report_key": report.html_key if report else None,
        "folder": str(outcome.folder),
    }
