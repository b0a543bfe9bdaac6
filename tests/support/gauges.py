"""At the end of a test nothing is held: no leased bytes, no task that waits, no RPC in flight."""

from __future__ import annotations

import gc

from simcloud.concurrency import budget_statistics, channel_statistics
from simcloud.telemetry import metrics, names


def held() -> list[str]:
    """What this process still holds, in words; empty when everything was given back.

    Looks at every byte budget and channel that something refers to, named or not, and at the RPCs
    of this process's servers.
    """
    found: list[str] = []
    for budget in budget_statistics():
        if budget.in_use or budget.waiting:
            found.append(f"budget holds bytes: {budget}")
        if budget.peak > budget.limit:
            found.append(f"budget was exceeded: {budget}")
    for channel in channel_statistics():
        both_open = channel.send_open and channel.receive_open
        if channel.waiting_senders or channel.waiting_receivers or (both_open and channel.buffered):
            found.append(f"channel is in use: {channel}")
    in_flight = metrics.value_of(names.RPC_IN_FLIGHT)
    if in_flight:
        found.append(f"{in_flight:g} RPCs are in flight")
    return found


def assert_nothing_held() -> None:
    """Fails with what is held. What only a reference cycle keeps alive does not count."""
    if held():
        gc.collect()
    found = held()
    assert not found, "\n".join(found)
