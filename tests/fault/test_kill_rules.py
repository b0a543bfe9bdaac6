"""The kill matrix's own parts: its plan is its seed's, and its rules see what they forbid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.kill_log import BEGINS_AGAIN, BEGUN, COMMITTED, DURABLE, OWNED, Line, audit, read_log
from support.kill_plan import BATCH, Victim, make_plan

ONE, OTHER, RENDERER = "uploader-0.1", "uploader-1.1", "generator-0.1"
Step = tuple[str, str, int, int]
"""Event, process, epoch, frame."""

UNDISTURBED: list[Step] = [
    (OWNED, ONE, 1, 0),
    (BEGUN, RENDERER, 1, 0),
    (BEGUN, RENDERER, 1, 1),
    (DURABLE, ONE, 1, 2),
    (BEGUN, RENDERER, 1, 2),
    (BEGUN, RENDERER, 1, 3),
]
COMMIT: Step = (COMMITTED, ONE, 0, 0)
TAKEN_OVER: list[Step] = [(OWNED, OTHER, 2, 2), (BEGUN, RENDERER, 2, 2), (BEGUN, RENDERER, 2, 3)]


def lines(*steps: Step) -> list[Line]:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Line(
            timestamp=began + timedelta(seconds=second),
            event=event,
            source=source,
            run="run",
            shard=0,
            epoch=epoch,
            frame=frame,
        )
        for second, (event, source, epoch, frame) in enumerate(steps)
    ]


def problems(*steps: Step) -> list[str]:
    return audit(lines(*steps), first_frames=[0]).problems


def test_an_undisturbed_shard_and_one_that_is_gone_on_with_keep_the_rules() -> None:
    assert problems(*UNDISTURBED, COMMIT) == []
    tally = audit(lines(*UNDISTURBED, *TAKEN_OVER, COMMIT), first_frames=[0])
    assert (tally.problems, tally.rendered) == ([], 6)
    assert (tally.continued, tally.continued_by_another) == (1, 1)


def test_a_writer_that_begins_before_what_is_durable_breaks_them() -> None:
    found = problems(*UNDISTURBED, (OWNED, OTHER, 2, 0), (BEGUN, RENDERER, 2, 0))
    assert "resumes at 0, durable before 2" in found[0]
    assert "frame 0 again, durable before 2" in found[1]


def test_a_durable_frame_that_its_own_writer_renders_again_breaks_them() -> None:
    assert "frame 1 again, durable before 2" in problems(*UNDISTURBED, (BEGUN, RENDERER, 1, 1))[0]


def test_a_counted_restart_may_render_what_was_durable() -> None:
    steps = [*UNDISTURBED, (BEGINS_AGAIN, ONE, 0, 0), (BEGUN, RENDERER, 1, 0)]
    tally = audit(lines(*steps), first_frames=[0])
    assert (tally.problems, tally.restarts) == ([], 1)


def test_rendering_a_shard_that_was_committed_breaks_them() -> None:
    found = problems(*UNDISTURBED, COMMIT, (OWNED, OTHER, 2, 2), (BEGUN, RENDERER, 2, 2))
    assert "committed before" in found[0]


def test_a_writer_that_was_not_told_yet_renders_in_vain_and_is_counted() -> None:
    marks: list[Step] = [(OWNED, OTHER, 2, 2), (DURABLE, OTHER, 2, 4)]
    tally = audit(lines(*UNDISTURBED[:4], *marks, *UNDISTURBED[4:]), first_frames=[0])
    assert (tally.problems, tally.in_vain) == ([], 2)


def test_a_frame_in_an_epoch_that_nobody_owned_breaks_them() -> None:
    assert "nobody owned" in problems((BEGUN, RENDERER, 3, 0))[0]


def test_a_log_that_a_kill_cut_short_is_read_up_to_there(tmp_path: Path) -> None:
    log = tmp_path / "uploader-0.1.log"
    begun = '{"event": "frame begun", "timestamp": "2026-01-01T00:00:00Z", "run": "r", "shard": 1'
    log.write_text(f'{begun}, "epoch": 2, "frame": 3}}\nnot JSON\n{begun}')
    (line,) = read_log(log)
    assert (line.source, line.shard, line.epoch, line.frame) == ("uploader-0.1", 1, 2, 3)


def test_a_plan_is_a_function_of_its_seed_and_has_every_kill_of_the_batch() -> None:
    assert str(make_plan(3)) == str(make_plan(3)) != str(make_plan(4))
    plan = make_plan(3)
    while not plan.done:
        for victim in Victim:
            life = plan.begin(victim)
            if life is not None:
                plan.end(victim, life)
    assert plan.carried_out == {str(kind): count for kind, count in BATCH.items()}


def test_a_kill_that_came_too_late_is_another_ones() -> None:
    plan = make_plan(3)
    life = plan.begin(Victim.DRIVER)
    assert life is not None
    plan.give_back(Victim.DRIVER, life)
    assert plan.begin(Victim.DRIVER) == life
