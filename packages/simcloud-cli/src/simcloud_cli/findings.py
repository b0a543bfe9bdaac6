"""What `simcloud doctor` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    """What was found, in a line; where it isn't ok, the mend too."""
    capabilities: dict[str, bool] | None = None
    """What an S3 server was seen to do, by its name in `simcloud.s3.probe.Capabilities`."""

    def plain(self) -> dict[str, object]:
        """For JSON."""
        row: dict[str, object] = {"check": self.name, "ok": self.ok, "detail": self.detail}
        return row if self.capabilities is None else {**row, "capabilities": self.capabilities}
