"""Times as the contracts carry them."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration


def seconds_of(duration: Duration) -> float:
    """Seconds, to the nanosecond."""
    return duration.seconds + duration.nanos / 1_000_000_000


def duration_of(seconds: float) -> Duration:
    """A duration, to the nanosecond."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1_000_000_000))
    return duration
