"""When a broken connection counts as one that had been closed before, by no clock of a test's."""

from __future__ import annotations

import pytest

from simcloud_inference_router.targets import errors


def any_kept_connection_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short it has been idle, and however late the machine hears that it broke."""
    monkeypatch.setattr(errors, "STALE_IDLE_S", 0.0)
    monkeypatch.setattr(errors, "STALE_BREAK_S", float("inf"))


def no_connection_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the machine stood still between two requests."""
    monkeypatch.setattr(errors, "STALE_IDLE_S", float("inf"))
