"""`score` and `report` without their options' words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simcloud.report.write import performance_json
from simcloud_cli.commands.common import output_folder
from simcloud_cli.counts import counts_json, print_problems
from simcloud_cli.embedded import Part
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.flow import Scoring, score_and_report
from simcloud_cli.interrupt import run_async
from simcloud_cli.output import console, print_json
from simcloud_cli.progress import RunProgress
from simcloud_cli.session import Session, check_run_name, in_session
from simcloud_cli.summary import print_metrics, print_performance

if TYPE_CHECKING:
    from simcloud_cli.transformflow import TransformChoice


def score_run(
    run: str,
    model: str,
    output: Path | None,
    *,
    score: bool,
    json: bool,
    transform: TransformChoice | None = None,
) -> ExitCode:
    """Scores a run, or only reports it, and prints what came out.

    Args:
        run: name or URI.
        model: of the router's catalogue; with ``transform`` `<name>@<digest>` does without one.
        output: folder of the report.
        score: whether to score what isn't, or only to report.
        json: one JSON document in place of tables.
        transform: score by a job of SageMaker's, and how; None: through the router.
    """

    async def work(session: Session) -> Scoring:
        location = session.location(run)
        folder = output_folder(output, session.context.state_dir, location.run)
        with RunProgress() as progress:
            scorer_of = None
            if transform is not None:
                scorer_of = transform.scorer_of(session, model, progress.say)
            return await score_and_report(
                session, location, model, progress, folder, score=score, scorer_of=scorer_of
            )

    check_run_name(run)
    if transform is not None:
        transform.check()
    needs = frozenset({Part.ROUTER}) if score and transform is None else frozenset()
    scoring = run_async(in_session(needs, work))
    code = ExitCode.COMPLETE if scoring.counts.complete_with_quarantine else ExitCode.INCOMPLETE
    if json:
        print_json(_as_json(run, scoring, code))
        return code
    out = console()
    if scoring.report is not None:
        print_metrics(scoring.report.evaluation.metrics, str(scoring.model))
        print_performance(scoring.report.performance)
        out.print(f"report: {scoring.report_path}", markup=False)
    counts = scoring.counts
    out.print(
        f"planned {counts.planned}, stored {counts.stored}, quarantined {counts.quarantined}, "
        f"scored {counts.scored}"
    )
    print_problems(counts)
    for frame in scoring.unscored:
        out.print(f"not scored: frame {frame.key[0]} camera {frame.key[1]}: {frame.message}")
    return code


def _as_json(run: str, scoring: Scoring, code: ExitCode) -> dict[str, object]:
    report = scoring.report
    return {
        "run": run,
        "model": str(scoring.model),
        "exit_code": int(code),
        "accounting": counts_json(scoring.counts),
        "unscored": [
            {"frame": item.key[0], "camera": item.key[1], "reason": item.reason}
            for item in scoring.unscored
        ],
        "metrics": report.evaluation.metrics.as_json() if report else None,
        "slices": [item.as_json() for item in report.evaluation.slices] if report else [],
        "performance": performance_json(report.performance) if report else None,
        "report": str(scoring.report_path) if scoring.report_path else None,
        "report_key": report.html_key if report else None,
    }
