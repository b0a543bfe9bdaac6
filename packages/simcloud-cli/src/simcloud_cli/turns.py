"""Commands that were started at once in one state folder: who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from simcloud_cli.statedir import StackHeld, StateDir

_LOOK_AGAIN_S = 0.2
"""flock tells nobody when it is given back, and waiting in it could not be cancelled."""


class Turn:
    """A command that needs the folder for a stack of its own.

    Args:
        state: the folder.
        say: told, once, for whom it waits.
    """

    def __init__(self, state: StateDir, say: Callable[[str], None]) -> None:
        self._state = state
        self._say = say
        self._said = False

    async def wait(self, held: StackHeld) -> None:
        """Waits a moment; then the folder is to be tried again.

        Raises:
            StackHeld: it is held by a stack that ends only when it is stopped.
        """
        holder = self._state.holder()
        if holder is not None:
            if holder.serves:
                raise held
            if not self._said:
                self._said = True
                self._say(
                    f"{holder} uses {self._state.path}: waiting until its stack can be used or it "
                    "has ended; --state-dir names another folder, `simcloud up` serves any number"
                )
        await asyncio.sleep(_LOOK_AGAIN_S)


async def until_unused(state: StateDir, say: Callable[[str], None]) -> None:
    """Waits until no other command uses the stack of this folder; no new one will."""
    state.forget()
    said = False
    while state.is_used():
        if not said:
            said = True
            say("done; another simcloud still uses this stack: waiting for it; Ctrl-C stops it")
        await asyncio.sleep(_LOOK_AGAIN_S)
