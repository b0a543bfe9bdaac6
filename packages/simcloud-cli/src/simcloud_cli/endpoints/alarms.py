"""The alarm that starts the first instance or copy: ours by its action, whatever its name says."""

from __future__ import annotations

from typing import Literal

from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.scaling import Scalable


async def alarm_of(aws: Aws, item: Scalable) -> Literal["none", "ours", "theirs"]:
    """Whose the alarm is that has the name of the one that wakes something.

    Raises:
        SimcloudError: as ``Aws.ask``.
    """
    seen = await aws.ask(
        Request(
            service="cloudwatch",
            operation="DescribeAlarms",
            parameters={
                "AlarmNames": [item.alarm],
                "AlarmTypes": ["MetricAlarm", "CompositeAlarm"],
            },
        )
    )
    alarms = [*seen.get("MetricAlarms", []), *seen.get("CompositeAlarms", [])]
    if not alarms:
        return "none"
    return "ours" if item.wakes(alarms[0].get("AlarmActions", [])) else "theirs"


def delete_alarm_request(name: str) -> Request:
    """DeleteAlarms."""
    return Request(
        service="cloudwatch",
        operation="DeleteAlarms",
        parameters={"AlarmNames": [name]},
        resource=f"alarm:{name}",
    )
