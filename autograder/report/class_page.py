"""The class page: every submission in one table, and what a teacher should look at twice."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autograder import similarity
from autograder.book.totals import Total
from autograder.lab import Lab, Threshold
from autograder.records import (
    Check,
    Evidence,
    Finding,
    Machine,
    Measurement,
    Outcome,
    Refusal,
    Verdict,
)
from autograder.report import text
from autograder.report.charts import class_chart
from autograder.report.page import (
    environment,
    findings_of,
    ran_without_sandbox,
    table_script,
    title_of,
    value_in_words,
    write_page,
)
from autograder.similarity import Fingerprints

MODEL = "Compressed model"


@dataclass(frozen=True)
class Graded:
    """What is kept of a submission that got through while a class is graded."""

    student: str
    verdict: Verdict  # without raw samples and written answers: those stay in the evidence
    total: Total
    fingerprints: Fingerprints
    findings: tuple[Finding, ...]
    machine: Machine
    graded_at: str  # ISO 8601, UTC
    grader_version: str

    @classmethod
    def of(cls, evidence: Evidence, verdict: Verdict, total: Total) -> "Graded":
        return cls(
            evidence.submission.student,
            Verdict(
                tuple(
                    replace(check, measurement=_bare(check.measurement)) for check in verdict.checks
                ),
                tuple(replace(cell, answer="") for cell in verdict.by_hand),
            ),
            total,
            similarity.fingerprints(evidence),
            findings_of(evidence),
            evidence.machine,
            evidence.graded_at,
            evidence.grader_version,
        )


@dataclass(frozen=True)
class Column:
    """A check that at least one verdict holds."""

    name: str
    group: str  # the notebook, or MODEL
    title: str


@dataclass(frozen=True)
class Row:
    student: str
    file: str
    points: float
    of: int
    open_points: int
    unread_points: int
    marks: tuple[str, ...]  # what the page can be filtered by
    cells: tuple[Check | None, ...]  # one for each column; None: the verdict has no such check


@dataclass(frozen=True)
class Distribution:
    column: Column
    of: int
    counts: dict[Outcome, int]
    mean_points: float | None  # over those graded; None while nothing is


@dataclass(frozen=True)
class Straddler:
    student: str
    file: str
    metric: str
    value: str
    full: str
    check: Check


@dataclass(frozen=True)
class Place:
    machine: Machine
    students: tuple[str, ...]
    unsafe: bool


def write_class_page(
    lab: Lab, graded: Sequence[Graded], refused: Sequence[Refusal], folder: Path
) -> Path:
    """Write index.html into the folder, with links to the students' pages beside it."""
    ordered = sorted(graded, key=lambda one: one.student)
    columns = _columns(ordered)
    places = _places(ordered)
    alike = similarity.pairs(one.fingerprints for one in ordered)
    known = {student for pair in alike for student in (pair.first, pair.second)}
    page = (
        environment()
        .get_template("class.html.j2")
        .render(
            lab=lab,
            columns=columns,
            groups=Counter(column.group for column in columns),
            rows=[_row(one, columns, one.student in known) for one in ordered],
            chart=class_chart([one.total for one in ordered]),
            script=table_script(),
            alike=alike,
            findings=[
                (one.student, text.file_name(one.student), finding)
                for one in ordered
                for finding in one.findings
            ],
            comments=[each for one in ordered for each in _decided(one)],
            distributions=[_distribution(column, ordered) for column in columns],
            straddlers=[found for one in ordered for found in _straddlers(one)],
            places=places,
            unsafe=any(place.unsafe for place in places),
            refused=sorted(refused, key=lambda refusal: refusal.student),
            outcomes=list(Outcome),
            graded_at=max((one.graded_at for one in ordered), default=""),
            versions=sorted({one.grader_version for one in ordered}),
        )
    )
    return write_page(page, folder, "index.html")


def _bare(measurement: Measurement | None) -> Measurement | None:
    return measurement and replace(measurement, samples={})


def _columns(graded: Sequence[Graded]) -> list[Column]:
    """The checks of all verdicts: the model's first, then the exercises, notebook by notebook."""
    checks = {check.name: check for one in graded for check in one.verdict.checks}
    columns = [_column(check) for check in checks.values()]
    return sorted(columns, key=lambda column: (column.group != MODEL, column.group))


def _column(check: Check) -> Column:
    if check.threshold is not None:
        return Column(check.name, MODEL, title_of(check))
    notebook, _, exercise = check.name.partition("/")
    return Column(check.name, notebook, exercise)


def _decided(one: Graded) -> list[tuple[str, str, str, float | None, str, str]]:
    """(student, page, about, points, by, reason) of every decision of a person that counts."""
    start = (one.student, text.file_name(one.student))
    lines = [(*start, each.name, each.points, each.by, each.note) for each in one.total.lines
             if each.by]  # fmt: skip
    said = [(*start, each.about, None, each.by, each.text) for each in one.total.comments]
    return [*lines, *said]


def _marks(one: Graded, alike: bool) -> tuple[str, ...]:
    late = one.total.lateness
    marks = {
        "open": bool(one.total.open_points),
        "unread": bool(one.total.unread_points),
        "near": bool(_straddlers(one)),
        "alike": alike,
        "found": bool(one.findings),
        "late": late is not None and late.days > 0,
    }
    return tuple(name for name, holds in marks.items() if holds)


def _row(one: Graded, columns: Sequence[Column], alike: bool) -> Row:
    verdict, student = one.verdict, one.student
    checks = {check.name: check for check in verdict.checks}
    return Row(
        student=student,
        file=text.file_name(student),
        points=one.total.points,
        of=one.total.of,
        open_points=one.total.open_points,
        unread_points=one.total.unread_points,
        marks=_marks(one, alike),
        cells=tuple(checks.get(column.name) for column in columns),
    )


def _distribution(column: Column, graded: Sequence[Graded]) -> Distribution:
    checks = [check for one in graded for check in one.verdict.checks if check.name == column.name]
    given = [check.points for check in checks if check.points is not None]
    counts = Counter(check.outcome for check in checks)
    return Distribution(
        column=column,
        of=max(check.of for check in checks),
        counts={outcome: counts[outcome] for outcome in Outcome},
        mean_points=sum(given) / len(given) if given else None,
    )


def _straddlers(one: Graded) -> list[Straddler]:
    """The checks whose interval holds the full threshold: another run may decide otherwise."""
    student = one.student
    return [
        Straddler(
            student=student,
            file=text.file_name(student),
            metric=title_of(check),
            value=value_in_words(check.measurement, check.threshold.unit),
            full=f"{text.number(check.threshold.full)} {check.threshold.unit}",
            check=check,
        )
        for check in one.verdict.checks
        if check.threshold is not None and _straddles(check.measurement, check.threshold)
    ]


def _straddles(measurement: Measurement | None, threshold: Threshold) -> bool:
    value = measurement.value if measurement else None
    return (
        value is not None and value.low < value.high and value.low <= threshold.full <= value.high
    )


def _places(graded: Sequence[Graded]) -> list[Place]:
    machines: list[Machine] = []
    for one in graded:
        if one.machine not in machines:
            machines.append(one.machine)
    return [
        Place(
            machine=machine,
            students=tuple(one.student for one in graded if one.machine == machine),
            unsafe=ran_without_sandbox(machine),
        )
        for machine in machines
    ]
