"""The attack corpus: submissions that try to earn what they are not worth, and honest ones beside.

A case is one Python file. Its docstring says the strategy, the source and what must come of it; the
names that it binds say the same to us; the cells that it replaces follow as in a sample
(samples.py). Everything is graded by the real rooms, and a case holds if the evidence and the
verdict say what it expects: no more points, and no fewer.
"""

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autograder import grade, notebook, release, samples
from autograder.grade import Grader, Tell
from autograder.intake import seal
from autograder.lab import Lab
from autograder.records import Evidence, Finding, Refusal
from autograder.sandbox import Sandbox
from autograder.steps import Steps
from autograder.verdict import decide

LABS_FILE = "labs.py"  # of the corpus: LABS, by folder of cases, a lab and its notebooks as text
Pack = Callable[[Path, Path], Path]  # (submission folder, empty folder) -> what is handed in


@dataclass(frozen=True)
class Case:
    name: str  # folder/file
    sample: samples.Sample
    fails: tuple[str, ...] = ()  # exercises that earn nothing; all others earn everything
    worthless: tuple[str, ...] = ()  # metrics that earn nothing; all others earn everything
    says: str = ""  # what some finding tells the student
    hides: str = ""  # what no output, message or finding may hold
    refused: str = ""  # why intake takes nothing; empty if it takes the submission
    silent: bool = False  # an honest submission: no finding at all
    pack: Pack | None = None


@dataclass(frozen=True)
class Trial:
    name: str
    strategy: str  # the first line of the docstring
    expected: str
    got: str
    held: bool
    evidence: tuple[str, ...]  # findings and messages, the first few


@dataclass(frozen=True)
class Corpus:
    cases: tuple[Case, ...]
    labs: Mapping[str, tuple[Lab, Mapping[str, str]]]  # by folder of cases


def read(folder: Path) -> Corpus:
    """All cases below a folder.

    Raises:
        FileNotFoundError: it holds no labs to try them with.
        samples.SampleError: a case binds a name that means nothing here.
    """
    if not (folder / LABS_FILE).is_file():
        raise FileNotFoundError(f"{folder} holds no {LABS_FILE}; expected a corpus of attacks")
    labs = _executed(folder / LABS_FILE)["LABS"]
    files = (path for name in labs for path in sorted((folder / name).glob("*.py")))
    return Corpus(tuple(_case(path) for path in files), MappingProxyType(labs))


class Arena:
    """The corpus's labs, released and ready to grade."""

    def __init__(self, corpus: Corpus, sandbox: Sandbox, work: Path, tell: Tell) -> None:
        self.work, self.tell = work, tell
        self.labs = {name: lab for name, (lab, _) in corpus.labs.items()}
        self._graders: dict[str, Grader] = {}
        for lab, texts in {
            lab.folder: (lab, texts) for lab, texts in corpus.labs.values()
        }.values():
            _write_source(lab, texts, work / "source")
            release.release(lab, work / "source", work / "release")
            grader = grade.prepare(lab, work / "source", sandbox, work / "out", tell)
            self._graders[lab.folder] = grader

    def attempt(self, case: Case) -> Trial:
        """Hand the case in, grade it, and compare."""
        lab = self.labs[case.name.partition("/")[0]]
        handed_in = self._hand_in(case, lab)
        sealed = seal(handed_in, lab, self.work / "sealed")
        if isinstance(sealed, Refusal):
            held = bool(case.refused) and case.refused in sealed.reason
            return _trial(case, f"refused: {sealed.reason}", held, ())
        evidence = grade.grade(sealed, self._graders[lab.folder], self.work / "out", self.tell)
        wrong = _deviations(case, lab, evidence)
        return _trial(case, "; ".join(wrong) or "as expected", not wrong, _remarks(evidence))

    def _hand_in(self, case: Case, lab: Lab) -> Path:
        source, released = (self.work / part / lab.folder for part in ("source", "release"))
        folder = samples.write(case.sample, source, released, self.work / "written")
        if case.pack is None:
            return folder
        target = self.work / "packed" / case.sample.name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        return case.pack(folder, target)


def attempts(corpus: Corpus, arena: Arena, only: str = "") -> Iterator[Trial]:
    """Every case whose name contains `only`, in order."""
    chosen = [case for case in corpus.cases if only in case.name]
    steps = Steps(len(chosen), arena.tell)
    for case in chosen:
        steps.begin(case.name)
        yield arena.attempt(case)


def table(corpus: Corpus) -> str:
    """What is tried and what must come of it, as docs/attacks.md shows it."""
    rows = ["| case | strategy | expected |", "|---|---|---|"]
    for case in corpus.cases:
        strategy, _, rest = case.sample.strategy.partition("\n")
        expected = rest.partition("Expected: ")[2].strip()
        rows.append(f"| `{case.name}` | {strategy} | {expected} |")
    return "\n".join(rows) + "\n"


def _deviations(case: Case, lab: Lab, evidence: Evidence) -> tuple[str, ...]:
    wrong = [f"refusal expected: {case.refused}"] if case.refused else []
    for exercise in evidence.exercises:
        if exercise.passed == (exercise.id in case.fails):
            wrong.append(f"{exercise.id} {'passed' if exercise.passed else 'failed'}")
    wrong += _deviating_metrics(case, lab, evidence)
    remarks = _findings(evidence)
    if case.says and not any(case.says in finding.message for finding in remarks):
        wrong.append(f"no finding says {case.says!r}")
    if case.silent and remarks:
        wrong.append(f"an honest submission is told: {remarks[0].message}")
    if case.hides and case.hides in _all_said(evidence):
        wrong.append(f"{case.hides!r} came out")
    return tuple(wrong)


def _deviating_metrics(case: Case, lab: Lab, evidence: Evidence) -> list[str]:
    checks = [check for check in decide(lab, evidence).checks if check.threshold is not None]
    return [
        f"{check.name} earned {check.points} of {check.of}"
        for check in checks
        if check.points != (0 if check.name in case.worthless else check.of)
    ]


def _all_said(evidence: Evidence) -> str:
    """Everything that a student gets to read."""
    outputs = [run.output + run.error for runs in evidence.runs.values() for run in runs]
    messages = [exercise.message + exercise.visible_error for exercise in evidence.exercises]
    return "\n".join([*outputs, *messages, *(f.message for f in _findings(evidence))])


def _findings(evidence: Evidence) -> tuple[Finding, ...]:
    notes = (Finding(m.metric, m.note) for m in evidence.measurements if m.note)
    return (*evidence.findings, *notes)


def _remarks(evidence: Evidence) -> tuple[str, ...]:
    messages = [f"{f.subject}: {f.message}" for f in _findings(evidence)]
    messages += [f"{e.id}: {e.message}" for e in evidence.exercises if e.message]
    return tuple(message[:200] for message in messages[:4])


def _trial(case: Case, got: str, held: bool, evidence: tuple[str, ...]) -> Trial:
    lost = [*case.fails, *case.worthless]
    expected = f"refused: {case.refused}" if case.refused else f"nothing for {', '.join(lost)}"
    if not lost and not case.refused:
        expected = "all points"
    strategy = case.sample.strategy.partition("\n")[0]
    return Trial(case.name, strategy, expected, got, held, evidence)


_BOUND = {"FAILS": "fails", "WORTHLESS": "worthless", "SAYS": "says", "HIDES": "hides",
          "REFUSED": "refused", "SILENT": "silent", "pack": "pack"}  # fmt: skip


def _case(path: Path) -> Case:
    head = path.read_text(encoding="utf-8").partition(f"\n{samples.CELL_LINE}")[0]
    bound = _executed(path, head)
    if unknown := {name for name in bound if name.isupper()} - set(_BOUND):
        raise samples.SampleError(f"{path} binds {sorted(unknown)}; known are {sorted(_BOUND)}")
    given = {field: bound[name] for name, field in _BOUND.items() if name in bound}
    return Case(f"{path.parent.name}/{path.stem}", samples.read(path), **given)


def _executed(path: Path, text: str | None = None) -> dict[str, Any]:
    """The names that a file of the corpus binds. It is ours, as the tests are."""
    spec = importlib.util.spec_from_loader(path.stem, loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    code = compile(path.read_text(encoding="utf-8") if text is None else text, str(path), "exec")
    exec(code, module.__dict__)
    return module.__dict__


def _write_source(lab: Lab, texts: Mapping[str, str], folder: Path) -> None:
    target = folder / lab.folder
    target.mkdir(parents=True, exist_ok=True)
    (target / "README.md").write_text(f"# {lab.title}\n", encoding="utf-8")
    for name, text in texts.items():
        document = notebook.from_text(text, name)
        (target / f"{name}.ipynb").write_text(document, encoding="utf-8")
