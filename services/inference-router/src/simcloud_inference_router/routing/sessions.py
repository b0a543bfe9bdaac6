"""Which target a session lives on; pure."""

from __future__ import annotations

from collections import OrderedDict

from simcloud.errors import NotReady, Overloaded, PreconditionFailed, Violation
from simcloud_inference_router.model_options import SessionOptions
from simcloud_inference_router.routing.roster import Roster
from simcloud_inference_router.routing.routed_target import RoutedTarget, State
from simcloud_inference_router.targets.base import NEW_SESSION

SESSIONS_FULL_RETRY_S = 5.0
"""Pause that callers are told while there are as many sessions as may be."""


class _Session:
    __slots__ = ("ejections", "gone", "target", "used_at")

    def __init__(self, target: RoutedTarget, now: float) -> None:
        self.target = target
        self.used_at = now
        self.ejections = target.counts.ejections
        self.gone = False
        """Whether the target is in the catalogue no more."""


class Sessions:
    """The sessions of one model: each stays with the target that it began on, drained or not.

    A session whose target is taken out of the traffic has ended, since its state is there and
    nowhere else: every further request under its key is refused, until it is begun anew or as much
    time has passed without one as makes it forgotten. Bounded: the least recently used are
    forgotten after the TTL, and new ones beyond ``max_sessions`` are refused; no living one is ever
    moved. Per replica, as everything here.

    Args:
        options: how many, how long.
        roster: the model's targets.
    """

    def __init__(self, options: SessionOptions, *, roster: Roster) -> None:
        self._options = options
        self._roster = roster
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()

    def __len__(self) -> int:
        """Sessions that are remembered."""
        return len(self._sessions)

    def target_of(
        self, caller: str, key: str, *, session_id: str, mask: int, now: float
    ) -> RoutedTarget:
        """The target of a session; a new session is given one.

        Args:
            caller: whose session it is.
            key: its name among the caller's.
            session_id: as in ``Invocation``: `NEW_SESSION` forgets what was known under the key;
                another one belongs to a session that may have begun at another replica.
            mask: of the targets that take the request.
            now: seconds.

        Raises:
            PreconditionFailed: its target was lost, or does not take this request.
            Overloaded: there are too many sessions.
            NotReady: no target is in the traffic.
        """
        self._forget(now)
        name = (caller, key)
        session = self._sessions.get(name)
        if session is None or session_id == NEW_SESSION:
            self._sessions.pop(name, None)
            elsewhere = session_id not in {"", NEW_SESSION}
            session = self._begin(name, mask, now, elsewhere=elsewhere)
        target = session.target
        if session.gone:
            raise _ended(key, target, "is no longer in the catalogue as it was")
        if target.counts.ejections > session.ejections:
            raise _ended(key, target, "was taken out of the traffic after failures")
        if not target.bit & mask:
            raise _refused(key, target)
        session.used_at = now
        self._sessions.move_to_end(name)
        return target

    def inherit(self, before: Sessions) -> None:
        """Takes over the sessions of the model as it was before.

        One whose target is not among the model's any more, or is another place under the same name,
        has ended, and its next request is told so.
        """
        known = {each.name: each for each in self._roster.targets}
        for name, session in before._sessions.items():
            target = known.get(session.target.name)
            same = target is not None and target.target is session.target.target
            taken = self._sessions[name] = _Session(
                target if target is not None and same else session.target, session.used_at
            )
            taken.ejections = session.ejections
            taken.gone = session.gone or not same

    def end(self, caller: str, key: str) -> None:
        """Forgets a session."""
        self._sessions.pop((caller, key), None)

    def _begin(self, name: tuple[str, str], mask: int, now: float, *, elsewhere: bool) -> _Session:
        if len(self._sessions) >= self._options.max_sessions:
            raise Overloaded(
                f"{len(self._sessions)} sessions are alive, no more are begun; end some or wait "
                "until they are forgotten",
                retry_after_s=SESSIONS_FULL_RETRY_S,
            )
        # One that began at another replica is where all replicas would put it.
        target = self._roster.place(mask, name[1], now, also_shut=elsewhere)
        if target is None:
            raise NotReady("no target that could hold a new session is in the traffic; try later")
        if elsewhere and target.state is State.EJECTED:
            raise _ended(name[1], target, "is out of the traffic after failures")
        session = self._sessions[name] = _Session(target, now)
        return session

    def _forget(self, now: float) -> None:
        while self._sessions:
            name = next(iter(self._sessions))
            if now - self._sessions[name].used_at < self._options.ttl_s:
                return
            del self._sessions[name]


def _ended(key: str, target: RoutedTarget, why: str) -> PreconditionFailed:
    problem = f"its target {target.name} {why}, and its state is lost; begin a new session"
    return PreconditionFailed(
        f"session {key!r} has ended: {problem}",
        violations=(Violation(kind="SESSION_LOST", subject=key, description=problem),),
        target=target.name,
    )


def _refused(key: str, target: RoutedTarget) -> PreconditionFailed:
    problem = f"its target {target.name} takes at most {target.entry.max_request_bytes} bytes"
    return PreconditionFailed(
        f"session {key!r}: {problem}; send less",
        violations=(Violation(kind="SESSION_LIMIT", subject=key, description=problem),),
        target=target.name,
    )
