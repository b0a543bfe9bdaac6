"""A reconciliation as text and as JSON."""

from __future__ import annotations

from simcloud.accounting.report import Missing, Report
from simcloud.dataset.quarantine import by_rule
from simcloud_cli.output import console

_NAMED = 20


def print_problems(report: Report) -> None:
    """Everything that is missing or wrong, why, and what mends it; on standard error."""
    out = console(stderr=True)
    mends: list[str] = []
    for kind, items in (("missing", report.missing), ("not scored", report.unscored)):
        for item in items[:_NAMED]:
            out.print(
                f"{kind}: {item.frame_keys} frames of shard {item.shard.shard} "
                f"({item.shard.first} to {item.shard.end - 1}): {item.reason}",
                markup=False,
            )
            mends.append(item.mend)
        if len(items) > _NAMED:
            out.print(f"... and {len(items) - _NAMED} more shards; --json lists all")
    said = {item.reason for item in (*report.missing, *report.unscored)}
    problems = [item for item in report.problems if item.detail not in said]
    for problem in problems[:_NAMED]:
        out.print(f"wrong: {problem.where}: {problem.detail}", markup=False)
        mends.append(problem.mend)
    if len(problems) > _NAMED:
        out.print(f"... and {len(problems) - _NAMED} more problems; --json lists all")
    for frame in report.quarantine[:_NAMED]:
        out.print(
            f"quarantined: frame {frame.frame} camera {frame.camera}: {frame.rule}: {frame.detail}",
            markup=False,
        )
    for mend in dict.fromkeys(mends):
        out.print(f"mend it with: {mend}", markup=False)


def counts_json(report: Report) -> dict[str, object]:
    """A reconciliation as plain data."""
    return {
        "planned": report.planned,
        "stored": report.stored,
        "quarantined": report.quarantined,
        "scored": report.scored,
        "balanced": report.balanced,
        "ok": report.ok,
        "published": report.published,
        "aborted": report.aborted,
        "stored_bytes": report.stored_bytes,
        "bytes_checked": report.bytes_checked,
        "missing": [_missing(item) for item in report.missing],
        "unscored": [_missing(item) for item in report.unscored],
        "quarantined_by_rule": by_rule(report.quarantine),
        "quarantine": [item.model_dump(mode="json") for item in report.quarantine],
        "problems": [
            {"where": item.where, "detail": item.detail, "mend": item.mend}
            for item in report.problems
        ],
        "dangling_uploads": [
            {
                "key": item.key,
                "upload_id": item.upload_id,
                "initiated": item.initiated.isoformat(),
                "committed": item.committed,
            }
            for item in report.dangling
        ],
    }


def _missing(item: Missing) -> dict[str, object]:
    return {
        "shard": item.shard.shard,
        "first_frame": item.shard.first,
        "end_frame": item.shard.end,
        "frame_keys": item.frame_keys,
        "reason": item.reason,
        "mend": item.mend,
    }
