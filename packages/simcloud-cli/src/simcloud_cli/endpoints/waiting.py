"""Waiting for AWS: bounded, told, and by a clock that tests own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.errors import DeadlineExceeded

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[None]]
Say = Callable[[str], None]


def _silent(_: str) -> None:
    """Says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long something is waited for, and how often it is looked at.

    Describe calls are throttled by account, so that looks are seconds apart, never in step.
    """

    limit_s: float = 1800.0
    """Longest wait in all."""
    poll_s: float = 15.0
    """Mean pause between two looks; each is a fifth more or less, by chance."""
    clock: Clock = SYSTEM_CLOCK
    sleep: Sleep = asyncio.sleep
    say: Say = _silent
    """Told each change of the state, and once a minute that it still is the same."""
    rng: random.Random = field(default_factory=random.Random)


_SAY_EVERY_S = 60.0


async def wait_until(
    look: Callable[[], Awaitable[T]],
    *,
    done: Callable[[T], bool],
    state: Callable[[T], str],
    what: str,
    patience: Patience,
) -> T:
    """Looks until what is seen is done.

    Cancelling it leaves AWS as it is: what was begun there goes on.

    Args:
        look: asks AWS; its errors end the wait.
        done: whether this is the end of it, a bad one included.
        state: one word for people.
        what: what is waited for, in messages.
        patience: how long.

    Raises:
        DeadlineExceeded: it was not done in time.
    """
    began = patience.clock.monotonic()
    said, said_at = "", began
    while True:
        seen = await look()
        now = patience.clock.monotonic()
        word = state(seen)
        if word != said or now - said_at >= _SAY_EVERY_S:
            patience.say(f"{what}: {word}, {now - began:.0f} s")
            said, said_at = word, now
        if done(seen):
            return seen
        left = patience.limit_s - (now - began)
        if left <= 0:
            raise DeadlineExceeded(
                f"{what}: still {word} after {now - began:.0f} s; it goes on without us, and bills"
            )
        pause = patience.poll_s * patience.rng.uniform(0.8, 1.2)
        await patience.sleep(min(pause, left))
