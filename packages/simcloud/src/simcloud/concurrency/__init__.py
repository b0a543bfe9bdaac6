"""Bounded hand-over, bytes in flight, credits, retries and background services.

The only place that makes tasks or queues by hand; everywhere else there are TaskGroups and these.
"""

from simcloud.concurrency.budget import (
    BudgetStatistics,
    ByteBudget,
    ByteLease,
    budget_statistics,
    count_as_budget,
)
from simcloud.concurrency.channel import (
    ChannelBroken,
    ChannelClosed,
    ChannelEnded,
    ChannelError,
    ChannelStatistics,
    ChannelWouldBlock,
    ReceiveEnd,
    SendEnd,
    channel_statistics,
    open_channel,
)
from simcloud.concurrency.credits import CreditExceeded, CreditWindow
from simcloud.concurrency.loop_thread import LoopStopped, LoopThread
from simcloud.concurrency.retry import Backoff, RetryBudget
from simcloud.concurrency.service import (
    BackgroundService,
    OneOperation,
    leaves,
    run_cleanup,
    single_error,
)
from simcloud.concurrency.token_bucket import TokenBucket

__all__ = [
    "BackgroundService",
    "Backoff",
    "BudgetStatistics",
    "ByteBudget",
    "ByteLease",
    "ChannelBroken",
    "ChannelClosed",
    "ChannelEnded",
    "ChannelError",
    "ChannelStatistics",
    "ChannelWouldBlock",
    "CreditExceeded",
    "CreditWindow",
    "LoopStopped",
    "LoopThread",
    "OneOperation",
    "ReceiveEnd",
    "RetryBudget",
    "SendEnd",
    "TokenBucket",
    "budget_statistics",
    "channel_statistics",
    "count_as_budget",
    "leaves",
    "open_channel",
    "run_cleanup",
    "single_error",
]
