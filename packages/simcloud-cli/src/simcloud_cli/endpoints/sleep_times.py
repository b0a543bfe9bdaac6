"""When an endpoint sleeps, as the options say it, checked before anything is asked of AWS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from simcloud.errors import InvalidRequest

SLEEP: Final = "simcloud-sleep"
"""What puts to sleep, by name: a scheduled action, or the beginning of a schedule's name."""
WAKE: Final = "simcloud-wake"
_EXPRESSION = re.compile(r"(cron|rate|at)\((.+)\)")
_CRON_FIELDS = 6
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepTimes:
    """When an endpoint sleeps.

    Raises:
        InvalidRequest: an expression, a time zone or a role that AWS would refuse.
    """

    sleep: str
    """``cron(0 20 ? * MON-FRI *)``, ``rate(...)`` or ``at(...)``, as AWS has them."""
    wake: str = ""
    """Empty: it is woken by hand."""
    timezone: str = "UTC"
    role: str = ""
    """ARN of the role that EventBridge's Scheduler takes; endpoints of instances need it."""

    def __post_init__(self) -> None:
        _check_expression("--schedule", self.sleep)
        if self.wake:
            _check_expression("--wake-schedule", self.wake)
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise InvalidRequest(
                "--timezone", f"{self.timezone!r} is no time zone like Europe/Berlin"
            ) from error
        if self.role and not _ROLE.fullmatch(self.role):
            raise InvalidRequest("--scheduler-role", f"{self.role!r} is no role's ARN")


def _check_expression(option: str, text: str) -> None:
    found = _EXPRESSION.fullmatch(text)
    if found is None:
        raise InvalidRequest(option, f"expected one like cron(0 20 ? * MON-FRI *), found {text!r}")
    fields = len(found[2].split())
    if found[1] == "cron" and fields != _CRON_FIELDS:
        raise InvalidRequest(
            option,
            f"AWS's cron has {_CRON_FIELDS} fields (minutes, hours, day of month, month, day of "
            f"week, year), found {fields} in {text!r}",
        )
