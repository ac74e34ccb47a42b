"""Verdicts and reports made again from evidence, without running anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder import evidence, published
from autograder.book import decisions, summary
from autograder.book.totals import total_of
from autograder.files import alone_in
from autograder.lab import Lab
from autograder.published import Change, Published
from autograder.records import Evidence, Refusal, Verdict
from autograder.report import Graded, write_class_page, write_report
from autograder.verdict import decide


class OtherLab(ValueError):
    """The evidence is not of the lab that was named."""


@dataclass(frozen=True)
class Regrade:
    """What the lab's numbers of today make of the evidence."""

    verdicts: tuple[tuple[Path, Verdict], ...]  # by evidence file
    changes: tuple[Change, ...]
    unreadable: tuple[Refusal, ...]


def regrade(lab: Lab, out: Path) -> Regrade:
    """Compare with what was published. Writes nothing.

    Raises:
        FileNotFoundError: there is no evidence in `out`.
        OtherLab: the evidence is of another lab.
    """
    folder = out / "evidence"
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise FileNotFoundError(f"there is no evidence in {folder}; `course grade` writes it")
    verdicts, now, unreadable = [], list[Published](), list[Refusal]()
    for path in paths:
        found = _read(path, lab)
        if isinstance(found, Refusal):
            unreadable.append(found)
            continue
        verdict = decide(lab, found)
        verdicts.append((path, verdict))
        now.append(Published.of_verdict(found.submission.student, found.graded_at, verdict))
    changed = published.changes(published.read(out), now)
    return Regrade(tuple(verdicts), tuple(changed), tuple(unreadable))


def publish(lab: Lab, regraded: Regrade, out: Path) -> Path:
    """Write every report, the class page and what is published now.

    Raises:
        AlreadyGrading: another grader works on `out`.
    """
    with alone_in(out):
        graded, shown, decided = [], [], decisions.read(out)
        for path, verdict in regraded.verdicts:
            found = evidence.read(path)
            total = total_of(lab, found, verdict, decided)
            write_report(lab, found, verdict, total, out)
            graded.append(Graded.of(found, verdict, total))
            shown.append(Published.of_verdict(found.submission.student, found.graded_at, verdict))
        page = write_class_page(lab, graded, list(regraded.unreadable), out)
        summary.write([one.total for one in graded], out)
        published.write(shown, out)
        return page


def _read(path: Path, lab: Lab) -> Evidence | Refusal:
    try:
        found = evidence.read(path)
    except ValueError as error:
        reason = f"{path.name} cannot be read ({error}); `course grade` makes it anew."
        return Refusal(path.stem, reason)
    if found.submission.lab != lab.folder:
        raise OtherLab(
            f"{path} is evidence of {found.submission.lab}, expected {lab.folder}; name that lab"
        )
    missing = _unmeasured(found, lab)
    if missing:
        reason = f"{', '.join(missing)} was never measured; `course grade` measures it."
        return Refusal(path.stem, reason)
    return found


def _unmeasured(found: Evidence, lab: Lab) -> Sequence[str]:
    measured = {measurement.metric for measurement in found.measurements}
    return [t.metric for t in lab.thresholds if t.metric not in measured]
