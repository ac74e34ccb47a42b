"""A student's page: what was measured, what it is worth, and what still has to come."""

import ast
import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from autograder import parsing
from autograder.book.totals import Total, answer_name
from autograder.files import write_whole
from autograder.lab import Lab, Metric, Threshold
from autograder.records import (
    Artefact,
    Cell,
    CellRun,
    Check,
    Evidence,
    Exercise,
    Finding,
    HandGraded,
    Machine,
    Measurement,
    TensorBytes,
    Verdict,
)
from autograder.report import text
from autograder.report.charts import chart

LEDGER_ROWS = 60  # of the table; a Transformer has hundreds of scales that say nothing each
METRIC_NAMES: dict[Metric, str] = {
    "compression_ratio": "Compression ratio",
    "accuracy_kept": "Accuracy kept",
    "delta_nll": "Loss against the baseline",
    "speedup": "Speed-up",
}


@dataclass(frozen=True)
class ArtefactRow:
    title: str
    check: Check
    value: str  # with interval and unit; empty when nothing was measured
    need: str  # what full points need
    needs: str  # the metrics that must earn too; empty if none
    details: tuple[tuple[str, str], ...]
    chart: Markup | None


@dataclass(frozen=True)
class ExerciseRow:
    name: str
    asked: str  # the first line of the contract, from the cell above; empty if it has none
    read: str  # the cell to look at
    check: Check
    visible: str  # what the visible tests said in the student's process: feedback only
    visible_error: str


@dataclass(frozen=True)
class FailedCell:
    id: str
    error: str
    output: str


@dataclass(frozen=True)
class NotebookView:
    name: str
    exercises: tuple[ExerciseRow, ...]
    by_hand: tuple[HandGraded, ...]
    failed_cells: tuple[FailedCell, ...]


@dataclass(frozen=True)
class Ledger:
    rows: tuple[TensorBytes, ...]
    left_out: int
    left_out_bytes: int
    graph_bytes: int
    size_bytes: int


def write_report(
    lab: Lab, evidence: Evidence, verdict: Verdict, total: Total, folder: Path
) -> Path:
    """Write the student's page into the folder; the same evidence gives the same bytes."""
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            lab=lab,
            evidence=evidence,
            verdict=verdict,
            total=total,
            lines={line.name: line for line in total.lines},
            answer_name=answer_name,
            findings=findings_of(evidence),
            artefact_rows=_artefact_rows(evidence, verdict),
            ledger=_ledger(evidence.artefact),
            notebooks=_notebooks(lab, evidence, verdict),
            machine=evidence.machine,
            unsafe=ran_without_sandbox(evidence.machine),
        )
    )
    return write_page(page, folder, text.file_name(evidence.submission.student))


@dataclass(frozen=True)
class Script:
    """A script that stands in a page, and what the page's policy names it by."""

    text: Markup
    hash: str


def table_script() -> Script:
    """Sorting and filtering, of this package: no student wrote any of it."""
    loader = environment().loader
    assert loader is not None
    source, _, _ = loader.get_source(environment(), "table.js")
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return Script(Markup(source), f"sha256-{digest}")


def write_page(page: str, folder: Path, name: str) -> Path:
    write_whole(page, folder / name)
    return folder / name


def environment() -> Environment:
    jinja = Environment(
        loader=PackageLoader("autograder.report"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters["number"] = text.number
    jinja.filters["points"] = text.points
    jinja.filters["minute"] = text.minute
    jinja.filters["excerpt"] = text.excerpt
    jinja.globals["plural"] = text.plural
    jinja.globals["title_of"] = title_of
    return jinja


def _finalize(value: object) -> object:
    """Every expression of every template passes here: none can forget to clean."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return text.clean(value)
    return value


def title_of(check: Check) -> str:
    return METRIC_NAMES[check.threshold.metric] if check.threshold else check.name


def ran_without_sandbox(machine: Machine) -> bool:
    return any("no sandbox" in missing.lower() for missing in machine.missing)


def findings_of(evidence: Evidence) -> tuple[Finding, ...]:
    """Each once, although a room may have handed on what an earlier one found."""
    found = [*evidence.submission.findings, *evidence.findings]
    found += [finding for notebook in evidence.notebooks for finding in notebook.findings]
    if isinstance(evidence.artefact, Finding):
        found.append(evidence.artefact)
    return tuple(dict.fromkeys(found))


def _artefact_rows(evidence: Evidence, verdict: Verdict) -> tuple[ArtefactRow, ...]:
    measured = {measurement.metric: measurement for measurement in evidence.measurements}
    rows = []
    for check in verdict.checks:
        if check.threshold is not None:
            measurement = check.measurement or measured.get(check.threshold.metric)
            rows.append(_artefact_row(check, check.threshold, measurement, evidence.artefact))
    return tuple(rows)


def _artefact_row(
    check: Check,
    threshold: Threshold,
    measurement: Measurement | None,
    artefact: Artefact | Finding | None,
) -> ArtefactRow:
    details = measurement.details if measurement else {}
    return ArtefactRow(
        title=title_of(check),
        check=check,
        value=value_in_words(measurement, threshold.unit),
        need=_need(threshold),
        needs=" and ".join(METRIC_NAMES[metric] for metric in threshold.needs),
        details=tuple((text.words(key), _detail(value)) for key, value in details.items()),
        chart=chart(threshold, measurement, artefact) if measurement else None,
    )


def value_in_words(measurement: Measurement | None, unit: str) -> str:
    if measurement is None or measurement.value is None:
        return ""
    value = measurement.value
    if measurement.metric == "compression_ratio":  # bytes are counted, not sampled
        return f"{text.number(value.value)} {unit}, exact"
    low, high = text.number(value.low), text.number(value.high)
    confidence = 98 if measurement.metric == "speedup" else 95  # latency.py says why
    return f"{text.number(value.value)} {unit}, {confidence} % interval {low} to {high}"


def _need(threshold: Threshold) -> str:
    bound = "at least" if threshold.full > threshold.none else "at most"
    full, none = text.number(threshold.full), text.number(threshold.none)
    return f"{bound} {full} {threshold.unit}; no points at {none}, in proportion between"


def _detail(value: float | str) -> str:
    return value if isinstance(value, str) else text.number(value)


def _ledger(artefact: Artefact | Finding | None) -> Ledger | None:
    if not isinstance(artefact, Artefact):
        return None
    tensors = sorted(artefact.ledger, key=lambda tensor: (-tensor.size_bytes, tensor.name))
    rest = tensors[LEDGER_ROWS:]
    return Ledger(
        rows=tuple(tensors[:LEDGER_ROWS]),
        left_out=len(rest),
        left_out_bytes=sum(tensor.size_bytes for tensor in rest),
        graph_bytes=artefact.graph_bytes,
        size_bytes=artefact.size_bytes,
    )


def _notebooks(lab: Lab, evidence: Evidence, verdict: Verdict) -> tuple[NotebookView, ...]:
    exercises = _exercises_by_notebook(evidence, verdict)
    rebuilt = [notebook.name for notebook in evidence.notebooks]
    names = dict.fromkeys([*lab.notebooks, *rebuilt, *exercises])
    views = [
        NotebookView(
            name=name,
            exercises=tuple(exercises.get(name, ())),
            by_hand=tuple(cell for cell in verdict.by_hand if cell.notebook == name),
            failed_cells=_failed_cells(evidence.runs.get(name, ())),
        )
        for name in names
    ]
    return tuple(view for view in views if view.exercises or view.by_hand or view.failed_cells)


def _exercises_by_notebook(evidence: Evidence, verdict: Verdict) -> dict[str, list[ExerciseRow]]:
    """Every check without a threshold, under its notebook, in the order of the verdict."""
    waiting = list(evidence.exercises)
    homes = {cell.id: book.name for book in evidence.notebooks for cell in book.cells}
    rows: dict[str, list[ExerciseRow]] = {}
    for check in verdict.checks:
        if check.threshold is None:
            exercise = _take_exercise(check.name, waiting)
            home = exercise.notebook if exercise else homes.get(check.name, "Other checks")
            rows.setdefault(home, []).append(_exercise_row(check, exercise, evidence))
    return rows


def _take_exercise(name: str, waiting: list[Exercise]) -> Exercise | None:
    """The first of that name: two notebooks may use one id, checks keep the exercises' order."""
    for exercise in waiting:
        if name in (exercise.id, f"{exercise.notebook}/{exercise.id}"):
            waiting.remove(exercise)
            return exercise
    return None


def _exercise_row(check: Check, exercise: Exercise | None, evidence: Evidence) -> ExerciseRow:
    if exercise is None:
        return ExerciseRow(check.name, "", "", check, "did not run", "")
    asked, read = _asked(exercise, evidence)
    ran = any(run.id == exercise.id for run in evidence.runs.get(exercise.notebook, ()))
    visible = "failed" if exercise.visible_error else "passed" if ran else "did not run"
    return ExerciseRow(exercise.id, asked, read, check, visible, exercise.visible_error)


def _asked(exercise: Exercise, evidence: Evidence) -> tuple[str, str]:
    """The contract's first line and the id of the student's cell before a test."""
    found = Cell("", "")
    for cell in next((n.cells for n in evidence.notebooks if n.name == exercise.notebook), ()):
        if cell.id == exercise.id:
            break
        found = cell if cell.of_student else found
    return _contract(found.source), found.id


def _contract(source: str) -> str:
    try:
        body = parsing.module(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    documented = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    first = ast.get_docstring(documented[0]) if documented else None
    return first.splitlines()[0] if first else ""


def _failed_cells(runs: Sequence[CellRun]) -> tuple[FailedCell, ...]:
    return tuple(
        FailedCell(run.id, text.excerpt(run.error), text.excerpt(run.output))
        for run in runs
        if run.error
    )
