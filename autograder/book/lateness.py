"""How late a submission is, and what it costs: pure, from times and the course's policy."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from autograder.lab import Lab

DAY_S = 24 * 3600


@dataclass(frozen=True)
class Lateness:
    """By how much a submission missed its deadline, and the share of its points that this costs."""

    due: str  # ISO 8601; with the student's extension
    received_at: str
    days: int  # begun after the deadline and its grace; 0: in time
    share_lost: float  # of the points that were earned
    extension: str = ""  # its reason, where the student has one


def lateness(lab: Lab, student: str, received_at: str) -> Lateness | None:
    """None for a lab without a deadline, and for a submission without a receipt.

    Args:
        received_at: ISO 8601 with its zone, as the receipt says; empty without a receipt.
    """
    own = (student, lab.number)
    extended = [each for each in lab.extensions if (each.student, each.lab) == own]
    due = max([each.due for each in extended], key=datetime.fromisoformat) if extended else lab.due
    if not (due and received_at):
        return None
    late = datetime.fromisoformat(received_at) - datetime.fromisoformat(due)
    reasons = "; ".join(each.reason for each in extended)
    if late <= timedelta(minutes=lab.late.grace_minutes):
        return Lateness(due, received_at, 0, 0.0, reasons)
    days = math.ceil(late.total_seconds() / DAY_S)
    share = min(lab.late.most_lost, days * lab.late.lost_per_day)
    return Lateness(due, received_at, days, share, reasons)
