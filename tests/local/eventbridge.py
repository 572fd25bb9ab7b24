"""Takes the events of AWS's services to EventBridge, whose rules match them as any other; and lets time pass for it.

ministack has both EventBridge and Scheduler. What its own services do not send, `services.py` sends.
"""

import os
from typing import Any

from ministack.services import eventbridge, scheduler
from ministack.services import stepfunctions as engine

original_put_events = eventbridge._put_events
original_rate_seconds = eventbridge._parse_rate_seconds

# How often schedules are looked at, in wall time.
TICK_SECONDS = 0.2
# Named in PutEvents by `services.py`, and by no SDK.
SENDER = "LocalCloud"


def apply() -> None:
    eventbridge._put_events = put_events
    eventbridge._parse_rate_seconds = rate_seconds
    scheduler._SCHEDULE_TICK_INTERVAL = TICK_SECONDS


def put_events(request: dict[str, Any], allow_aws_source: bool = False) -> Any:
    """User Guide, "Event source": nobody but AWS's services may send what begins with `aws.`."""
    is_a_service = request.pop(SENDER, None) == os.environ["RDS_ENCRYPT_LOCAL_CLOUD"]
    return original_put_events(request, allow_aws_source or is_a_service)


def rate_seconds(expression: str) -> float | None:
    """Rates pass on the scale of the Waits."""
    seconds = original_rate_seconds(expression)
    return None if seconds is None else float(seconds * engine._SFN_WAIT_SCALE)
