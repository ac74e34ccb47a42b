"""In the container: `python -m autograder.gradescope.harness LAB ROOT` grades one submission.

ROOT/submission is read, ROOT/results/results.json is written, whatever happens. Evidence and
report lie beside it, for the instructor's download.
"""

import json
import sys
from pathlib import Path

from autograder import classrun, grade
from autograder.book.totals import total_of
from autograder.cli.app import find_lab
from autograder.gradescope import results
from autograder.intake import seal
from autograder.lab import Lab
from autograder.records import Refusal
from autograder.report import write_report
from autograder.sandbox import Sandbox, SandboxUnavailable, find
from autograder.sandbox.other_user import OtherUser, usable
from autograder.verdict import decide

STUDENT = "submission"  # Gradescope knows whose it is


def main(arguments: list[str]) -> None:
    lab, root = find_lab(arguments[0]), Path(arguments[1])
    try:
        document = graded(lab, root, best_sandbox(root))
    except Exception as error:
        classrun.log.exception("grading failed")
        document = results.failed(f"{type(error).__name__}: {error}")
    (root / "results").mkdir(exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False)
    (root / "results" / "results.json").write_text(text, encoding="utf-8")


def graded(lab: Lab, root: Path, sandbox: Sandbox) -> results.Document:
    """Raises whatever the rooms raise; `main` says it to Gradescope."""
    out = root / "results" / "course"
    sealed = seal(root / STUDENT, lab, out / "sealed")
    if isinstance(sealed, Refusal):
        return results.failed(sealed.reason)
    grader = grade.prepare(lab, root / "source" / "source", sandbox, out, classrun.log.info)
    found = grade.grade(sealed, grader, out, classrun.log.info)
    verdict = decide(lab, found)
    write_report(lab, found, verdict, total_of(lab, found, verdict), out)
    return results.results(found, verdict)


def best_sandbox(root: Path) -> Sandbox:
    """A sandbox where the container can have one, else another uid.

    Raises:
        SandboxUnavailable: neither, because this is not root.
    """
    try:
        return find(allow_unsafe=False)
    except SandboxUnavailable:
        if not usable():
            raise
        return OtherUser(root / "models")


if __name__ == "__main__":
    main(sys.argv[1:])
