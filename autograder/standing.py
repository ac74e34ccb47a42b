"""Whether evidence still stands, or its submission must be graded again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

from autograder import __version__
from autograder.lab import Lab
from autograder.machine import Equipment, lacks
from autograder.notebook import SourceCell
from autograder.records import Check, Evidence, Machine, Submission
from autograder.verdict import decide


def held_against(lab: Lab, sources: Mapping[str, list[SourceCell]]) -> str:
    """A hash of all that evidence depends on beside the submission and the machine.

    Thresholds are not part of it, only which metrics they need: a verdict is made anew from the
    same evidence. Neither is prose, so that a corrected word regrades nobody.
    """
    cells = {
        name: [
            (cell.id, cell.role, cell.points, cell.source if cell.kind == "code" else "")
            for cell in of_notebook
            if cell.kind == "code" or cell.role
        ]
        for name, of_notebook in sources.items()
    }
    demands = {
        "datasets": lab.datasets,
        "models": lab.models,
        "artefact": lab.artefact and asdict(lab.artefact),
        "metrics": [threshold.metric for threshold in lab.thresholds],
        "limits": asdict(lab.limits),
        "intake": asdict(lab.intake),
    }
    return hashlib.sha256(json.dumps([cells, demands], sort_keys=True).encode()).hexdigest()


def stands(known: Evidence, submission: Submission, now: Machine, held_to: str) -> bool:
    """Whether evidence is of these very files, and was made as it would be made now.

    Args:
        now: the machine that would grade.
        held_to: `held_against` of the lab as it is now.

    Evidence that was made without a sandbox does not stand where there is one.
    """
    found = (known.submission.receipt, known.grader_version, known.held_against)
    if found != (submission.receipt, __version__, held_to):
        return False
    return bool(known.machine.isolation) or not now.isolation


def may_settle(known: Evidence, lab: Lab, now: Equipment, again: bool) -> bool:
    """Whether a check is open that this machine could settle; with `again`, any that is open."""
    return any(again or _possible(check, now) for check in decide(lab, known).open)


def _possible(check: Check, now: Equipment) -> bool:
    return check.threshold is None or not lacks(now, check.threshold.requires)
