"""What a test tells whoever reads the output, whether it passes or not, on any worker of xdist."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

TOLD = "told"
"""Property by which a test tells it: ``record_property(TOLD, words)``."""


def told_lines(reports: list[pytest.TestReport]) -> Iterator[str]:
    """What the tests of some reports told, each with its test's name."""
    for report in reports:
        if getattr(report, "when", "") == "call":
            name = report.nodeid.rpartition("::")[2]
            yield from (f"{name}: {words}" for key, words in report.user_properties if key == TOLD)
