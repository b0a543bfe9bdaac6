from __future__ import annotations

import pytest

from simcloud.errors import NotReady, Overloaded, PreconditionFailed
from simcloud_inference_router.model_options import SessionOptions
from simcloud_inference_router.routing.roster import Roster
from simcloud_inference_router.routing.routed_target import RoutedTarget, State
from simcloud_inference_router.routing.sessions import Sessions
from simcloud_inference_router.targets.base import NEW_SESSION, Failure
from support.roster import ANSWER, roster_of, routed


def sessions(*, ttl_s: float = 60.0, most: int = 10) -> tuple[Sessions, Roster]:
    roster = roster_of([routed("a"), routed("b", max_request_bytes=10)])
    options = SessionOptions(ttl_s=ttl_s, max_sessions=most)
    return Sessions(options, roster=roster), roster


def home(
    known: Sessions,
    roster: Roster,
    key: str,
    now: float = 0.0,
    *,
    session_id: str = "",
    size: int = 1,
    caller: str = "me",
) -> RoutedTarget:
    mask = roster.mask_for(size)
    return known.target_of(caller, key, session_id=session_id, mask=mask, now=now)


def key_of(known: Sessions, roster: Roster, name: str) -> str:
    """A key whose home is a target."""
    keys = (f"k{number}" for number in range(1000))
    return next(
        key
        for key in keys
        if (found := roster.place(roster.ordinary, key, 0.0)) is not None and found.name == name
    )


def test_it_lives_as_long_as_it_is_used_and_then_a_while() -> None:
    known, roster = sessions(ttl_s=60)
    for now in (0.0, 59.0, 118.0):
        home(known, roster, "s", now)
    assert len(known) == 1
    home(known, roster, "other", 178.0)
    assert len(known) == 1, "the first is forgotten"


def test_no_living_session_makes_room_for_a_new_one() -> None:
    known, roster = sessions(most=2)
    home(known, roster, "1")
    home(known, roster, "2")
    with pytest.raises(Overloaded, match="2 sessions are alive"):
        home(known, roster, "3")
    known.end("me", "1")
    home(known, roster, "3")


def test_one_callers_session_is_not_anothers() -> None:
    known, roster = sessions()
    home(known, roster, "s", caller="me")
    home(known, roster, "s", caller="you")
    assert len(known) == 2


def test_a_lost_target_ends_its_sessions_until_they_begin_anew() -> None:
    known, roster = sessions()
    key = key_of(known, roster, "a")
    target = home(known, roster, key)
    down = Failure(NotReady("down"))
    for _ in range(5):
        roster.learn(roster.grant(target, 1.0), down, 1.0)
    assert target.state is State.EJECTED
    with pytest.raises(PreconditionFailed, match="target a was taken out"):
        home(known, roster, key, 2.0)
    assert home(known, roster, "new", 2.0, session_id=NEW_SESSION).name == "b"
    # It is due for a probe, and comes back: with nothing of what it knew.
    assert target.is_there(31.0)
    roster.learn(roster.grant(target, 31.0), ANSWER, 31.0)
    with pytest.raises(PreconditionFailed):
        home(known, roster, key, 32.0)
    assert home(known, roster, key, 32.0, session_id=NEW_SESSION) is target


def test_a_request_that_its_target_does_not_take_is_refused_and_not_moved() -> None:
    known, roster = sessions()
    key = key_of(known, roster, "b")
    home(known, roster, key)
    with pytest.raises(PreconditionFailed, match="at most 10 bytes"):
        home(known, roster, key, size=11)
    assert home(known, roster, key).name == "b"


def test_one_that_began_at_another_replica_is_looked_for_where_it_was_put() -> None:
    known, roster = sessions()
    key = key_of(known, roster, "a")
    roster.target("a").state = State.EJECTED
    with pytest.raises(PreconditionFailed, match="target a is out of the traffic"):
        # Found, and found to be lost: it is not begun at b.
        home(known, roster, key, session_id="id")


def test_where_no_target_is_open_no_session_begins() -> None:
    known, roster = sessions()
    for target in roster.targets:
        target.state, target.shut_until = State.COLD, 5.0
    with pytest.raises(NotReady, match="new session"):
        home(known, roster, "s")


def test_one_that_began_at_another_replica_is_found_on_a_drained_target_too() -> None:
    known, roster = sessions()
    key = key_of(known, roster, "a")
    target = roster.target("a")
    target.drained = True
    target.refresh()
    assert home(known, roster, key, session_id="id") is target
    assert home(known, roster, "new", session_id=NEW_SESSION).name == "b"
