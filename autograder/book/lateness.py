"""How late a submission is, and what it costs: pure, from times and the course's policy."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from autograder.lab import Extension, Lab, LatePolicy

DAY_S = 24 * 3600


@dataclass(frozen=True)
class Lateness:
    """By how much a submission missed its deadline, and the share of its points that this costs."""

    due: str  # ISO 8601; with the student's extension
    received_at: str
    days: int  # begun after the deadline and its grace; 0: in time
    share_lost: float  # of the points that were earned
    extension: str = ""  # its reason, where the student has one


def lateness(
    lab: Lab,
    student: str,
    received_at: str,
    policy: LatePolicy,
    extensions: tuple[Extension, ...] = (),
) -> Lateness | None:
    """None for a lab without a deadline.

    Args:
        received_at: ISO 8601 with its zone, as the receipt says.
    """
    extended = [each for each in extensions if (each.student, each.lab) == (student, lab.number)]
    due = max([each.due for each in extended], key=datetime.fromisoformat) if extended else lab.due
    if not due:
        return None
    late = datetime.fromisoformat(received_at) - datetime.fromisoformat(due)
    reasons = "; ".join(each.reason for each in extended)
    if late <= timedelta(minutes=policy.grace_minutes):
        return Lateness(due, received_at, 0, 0.0, reasons)
    days = math.ceil(late.total_seconds() / DAY_S)
    share = min(policy.most_lost, days * policy.lost_per_day)
    return Lateness(due, received_at, days, share, reasons)
