"""A verdict in Gradescope's words.

Source  Gradescope, "Autograder Specifications": results.json with a score, and tests that each have
        a name, score, max_score, status, output and visibility (hidden, after_due_date,
        after_published, visible).
"""

from collections.abc import Sequence

from autograder.records import Check, Evidence, HandGraded, Outcome, Verdict
from autograder.report import text
from autograder.report.page import title_of, value_in_words

Document = dict[str, object]


def results(evidence: Evidence, verdict: Verdict) -> Document:
    """What Gradescope reads. Written answers carry no points there: a person adds them."""
    tests = [_test(check) for check in verdict.checks]
    tests += [_written(cell) for cell in verdict.by_hand]
    return {
        "score": round(verdict.points, 2),
        "output": _about(evidence, verdict),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",  # of the harness: paths and progress
        "tests": tests,
        "extra_data": {
            "receipt": evidence.submission.receipt,
            "grader_version": evidence.grader_version,
            "open_points": sum(check.of for check in verdict.open),
        },
    }


def failed(reason: str) -> Document:
    """For a submission that could not be graded: no score, so that nobody takes it for zero."""
    return {
        "output": f"This could not be graded, and carries no points yet: {text.clean(reason)}",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [],
    }


def _test(check: Check) -> Document:
    found: Document = {
        "name": title_of(check),
        "max_score": check.of,
        "output": text.clean("\n".join(_words(check))),
        "visibility": "visible",
    }
    if check.points is None:
        return found | {"score": 0.0, "status": "failed", "name": f"{title_of(check)} (not graded)"}
    passed = check.outcome is Outcome.PASSED
    return found | {"score": round(check.points, 2), "status": "passed" if passed else "failed"}


def _words(check: Check) -> Sequence[str]:
    if check.outcome is Outcome.NOT_GRADED:
        yet = "Not graded: this is our fault, carries no points yet, and will be repeated."
        return (yet, check.note)
    value = value_in_words(check.measurement, check.threshold.unit) if check.threshold else ""
    return tuple(each for each in (value, check.note) if each) or ("as it should be",)


def _written(cell: HandGraded) -> Document:
    empty = "" if cell.answer.strip() else " It is empty."
    return {
        "name": f"{cell.notebook}/{cell.id}",
        "output": f"A person reads this answer, for up to {cell.points} points.{empty}",
        "visibility": "visible",
    }


def _about(evidence: Evidence, verdict: Verdict) -> str:
    lines = [f"{verdict.points:g} of {verdict.of} points."]
    lines += [f"{finding.subject}: {finding.message}" for finding in evidence.findings]
    lines += [f"missing isolation: {each}" for each in evidence.machine.missing]
    return text.clean("\n".join(lines))
