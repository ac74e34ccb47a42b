"""Whole submissions of the mini lab through all rooms: good, empty, broken and hostile."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import minilab
import pytest

from autograder import classrun, evidence
from autograder.grade import Grader
from autograder.records import Artefact, Evidence, Finding, Outcome, Submission, Verdict
from autograder.verdict import decide

Graded = Callable[[dict[str, str]], Evidence]
NAIVE = (
    'model = labkit.baselines.load("resnet_cifar10")\nlabkit.export.to_onnx(model, "model.onnx")'
)


def _exercises(found: Evidence) -> dict[str, bool]:
    return {exercise.id: exercise.passed for exercise in found.exercises}


def _earned(verdict: Verdict) -> dict[str, float | None]:
    return {check.name: check.points for check in verdict.checks if check.threshold}


def test_the_instructors_solution_earns_all_points(graded: Graded) -> None:
    verdict = decide(minilab.LAB, graded({}))
    if verdict.open:  # a CPU without VNNI cannot be asked for INT8 speed
        assert [check.name for check in verdict.open] == ["speedup"]
        assert "needs a CPU with avx512_vnni" in verdict.open[0].note
    assert verdict.points == verdict.of - sum(check.of for check in verdict.open)
    assert sum(cell.points for cell in verdict.by_hand) == 3


def test_the_unmodified_model_earns_none_of_the_artefacts_points(graded: Graded) -> None:
    found = graded({"build": NAIVE})
    verdict = decide(minilab.LAB, found)
    assert all(_exercises(found).values())
    ratio, kept, _ = (found.measurements[index].value for index in range(3))
    assert ratio is not None
    assert ratio.value == 1.0
    assert kept is not None
    assert kept.value == 100.0
    assert not any(_earned(verdict).values())


def test_an_attack_on_clocks_and_files_earns_nothing_it_did_not_solve(graded: Graded) -> None:
    attack = (
        "import time, json, builtins\n"
        "time.perf_counter = time.thread_time = lambda: 0.0\n"
        "time.thread_time_ns = time.perf_counter_ns = lambda: 0\n"
        "builtins.AssertionError = type('Never', (Exception,), {})\n"
        f"{NAIVE}\n"
        "for name in ('summary.json', 'result.json', 'manifest.json', 'evidence.jsonl'):\n"
        "    open('/out/' + name, 'w').write(json.dumps({'points': 100, 'speedup': 99}))\n"
    )
    found = graded({"build": attack, "double": "def double(x):\n    return x"})
    verdict = decide(minilab.LAB, found)
    assert not any(_earned(verdict).values())
    assert _exercises(found) == {"test-double": False, "test-count": True}


def test_a_crash_costs_the_crashing_cell_alone(graded: Graded) -> None:
    found = graded({"count": "import os\nos._exit(0)"})
    assert _exercises(found) == {"test-double": True, "test-count": False}
    assert isinstance(found.artefact, Artefact)


@pytest.mark.parametrize(
    ("build", "explanation"),
    [
        ("pass", "No model.onnx was handed in"),
        ("open('model.onnx', 'wb').write(b'junk')", "No model.onnx was handed in"),
        (
            "import os; open(os.environ['LABKIT_OUT'] + '/model.onnx', 'wb').write(b'x')",
            "not an ONNX",
        ),
    ],
)
def test_an_artefact_that_is_none_is_explained_and_the_exercises_count(
    graded: Graded, build: str, explanation: str
) -> None:
    found = graded({"build": build})
    assert isinstance(found.artefact, Finding)
    assert explanation in found.artefact.message
    assert all(_exercises(found).values())


def test_a_model_of_the_wrong_class_count_is_explained(graded: Graded) -> None:
    build = (
        "import os\n"
        "from labkit.models import ResNetSpec, build\n"
        "model = build(ResNetSpec(width=8, blocks=1, classes=7))\n"
        'labkit.export.to_onnx(model, os.environ["LABKIT_OUT"] + "/model.onnx")'
    )
    found = graded({"build": build})
    kept = next(m for m in found.measurements if m.metric == "accuracy_kept")
    assert kept.value is None
    assert "one logit for each of 10 classes" in kept.note


def test_a_model_that_ignores_its_batch_is_explained(graded: Graded) -> None:
    """The output is averaged over the batch: one row, however many images."""
    build = (
        f"{NAIVE}\n"
        "import os, onnx\n"
        "model = onnx.load('model.onnx')\n"
        "model.graph.node[-1].output[0] = 'rows'\n"
        "mean = onnx.helper.make_node('ReduceMean', ['rows', 'axes'], ['logits'])\n"
        "model.graph.node.append(mean)\n"
        "axes = onnx.numpy_helper.from_array(torch.tensor([0]).numpy(), 'axes')\n"
        "model.graph.initializer.append(axes)\n"
        "onnx.save(model, os.environ['LABKIT_OUT'] + '/model.onnx')\n"
        "os.remove('model.onnx')"  # or labkit.submit would hand in the good one
    )
    found = graded({"build": build})
    kept = next(m for m in found.measurements if m.metric == "accuracy_kept")
    assert kept.value is None
    assert "expected one row of logits for each" in kept.note


def test_evidence_comes_back_as_it_was_written(graded: Graded, tmp_path: Path) -> None:
    found = graded({"build": "pass"})
    evidence.write(found, tmp_path / "copy.jsonl")
    assert evidence.read(tmp_path / "copy.jsonl") == found
    with pytest.raises(ValueError, match="lacks"):
        (tmp_path / "copy.jsonl").write_text('{"findings": []}\n')
        evidence.read(tmp_path / "copy.jsonl")


def test_a_lab_of_exercises_alone_needs_no_artefact(stub_grader: Grader, tmp_path: Path) -> None:
    minilab.hand_in_stub(tmp_path / "in", "anna")
    minilab.hand_in_stub(tmp_path / "in", "ben", {"twice": "def twice(x):\n    return 2 * abs(x)"})
    out = tmp_path / "out"
    result = classrun.grade_class(
        tmp_path / "in", minilab.STUB, lambda: stub_grader, out, lambda _: None
    )
    assert [item.verdict.points for item in result.graded] == [7, 5]
    assert stub_grader.baseline() is None
    page = (out / "anna.html").read_text()
    assert "Your compressed model" not in page
    assert "the model you handed in" not in page
    assert "Compressed model" not in (out / "index.html").read_text()


def test_thresholds_without_an_artefact_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Mini: thresholds for .* but no artefact"):
        replace(minilab.LAB, artefact=None)


def test_a_class_run_grades_each_submission_once_and_reports_all(
    grader: Grader, tmp_path: Path
) -> None:
    submissions = tmp_path / "submissions"
    for student in ("anna", "ben"):
        (submissions / student).mkdir(parents=True)
        (submissions / student / "notes.txt").write_text("nothing yet")
    (submissions / "broken.zip").write_bytes(b"no zip")
    asked = []

    def prepare() -> Grader:
        asked.append(1)
        return grader

    def once() -> classrun.ClassResult:
        out = tmp_path / "out"
        return classrun.grade_class(submissions, minilab.LAB, prepare, out, lambda _: None)

    first = once()
    assert [item.student for item in first.graded] == ["anna", "ben"]
    assert [refusal.student for refusal in first.refused] == ["broken"]
    assert {path.name for path in (tmp_path / "out").glob("*.html")} >= {"index.html", "anna.html"}
    graded_at = first.graded[0].graded_at
    (tmp_path / "out" / "evidence" / "ben.jsonl").unlink()  # as if killed before ben was done
    again = once()
    assert again.graded[0].graded_at == graded_at
    assert len(again.graded) == 2
    if not first.graded[0].verdict.open:
        assert len(asked) == 2  # once for the first run, once for ben


def test_a_submission_that_brings_the_grader_down_does_not_take_the_class_along(
    grader: Grader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for student in ("anna", "ben"):
        (tmp_path / "in" / student).mkdir(parents=True)
    grade_one = classrun.grade.grade

    def breaks_on_anna(submission: Submission, *rest: Any) -> Evidence:
        if submission.student == "anna":
            raise RuntimeError("a bug of ours")
        return grade_one(submission, *rest)

    monkeypatch.setattr(classrun.grade, "grade", breaks_on_anna)
    out = tmp_path / "out"
    result = classrun.grade_class(tmp_path / "in", minilab.LAB, lambda: grader, out, lambda _: None)
    assert [item.student for item in result.graded] == ["ben"]
    assert "our fault" in result.refused[0].reason
    assert not (out / "evidence" / "anna.jsonl").exists()


def test_a_check_without_its_hardware_is_open_and_not_failed(
    graded: Graded, grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autograder.measure.lacks", lambda machine, required: (
        "it needs a CPU with avx512_vnni, which this one has not" if required.isa else ""
    ))  # fmt: skip
    verdict = decide(minilab.LAB, graded({}))
    assert [check.outcome for check in verdict.open] == [Outcome.NOT_GRADED]
    assert "avx512_vnni" in verdict.open[0].note
