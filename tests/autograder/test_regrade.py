"""What is published, what would change and why, and whether a bundle is what it says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import report_samples

from autograder import evidence, published, regrade, verify
from autograder.intake import receipt_of
from autograder.latency import SCHEDULE, Block, speedup
from autograder.provenance import code_digest, file_digest
from autograder.published import Published
from autograder.records import Artefact, Evidence, Interval, Provenance, SealedFile
from autograder.verdict import decide
from labkit.timing import Pair

LAB = report_samples.LAB
STRICTER = replace(
    LAB,
    thresholds=tuple(
        replace(t, full=4.5) if t.metric == "compression_ratio" else t for t in LAB.thresholds
    ),
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A class of two whose grades are published, with all that belongs to a bundle."""
    (tmp_path / "evidence").mkdir()
    (tmp_path / "secret").write_bytes(b"s" * 32)
    found = [_bundled(report_samples.graded(name).evidence, tmp_path) for name in ("ada", "eve")]
    for one in found:
        evidence.write(one, tmp_path / "evidence" / f"{one.submission.student}.jsonl")
    regrade.publish(LAB, regrade.regrade(LAB, tmp_path), tmp_path)
    return tmp_path


def _bundled(one: Evidence, out: Path) -> Evidence:
    student = one.submission.student
    root, model = out / "sealed" / student, out / "artefacts" / student / "model.onnx"
    for folder in (root, model.parent):
        folder.mkdir(parents=True)
    (root / "01.ipynb").write_text("{}")
    files = (SealedFile("01.ipynb", 2, file_digest(root / "01.ipynb")),)
    assert isinstance(one.artefact, Artefact)
    model.write_bytes(bytes(one.artefact.size_bytes))
    submission = replace(one.submission, root=root, files=files, receipt=receipt_of(files))
    made = Provenance(code_digest(), "", "", file_digest(out / "secret"))
    return replace(
        one,
        submission=submission,
        artefact=replace(one.artefact, path=model, sha256=file_digest(model)),
        measurements=tuple(_consistent(m) for m in one.measurements),
        provenance=made,
    )


def _consistent(measurement: report_samples.Measurement) -> report_samples.Measurement:
    """With figures that follow from the parts, as real ones do."""
    if measurement.metric == "accuracy_kept":
        kept = 100 * 0.877 / 0.8931
        return replace(measurement, value=Interval(kept, kept - 0.5, kept + 0.5))
    if measurement.metric != "speedup":
        return measurement
    pairs = [Pair(12.0 + n / 99, 5.0 + n / 777, 12.0, 5.0) for n in range(12 * SCHEDULE[0])]
    blocks = [Block(tuple(pairs[at : at + 12]), (1.0, 1.0)) for at in range(0, len(pairs), 12)]
    samples = {name: [getattr(p, name) for p in pairs] for name in Pair.__dataclass_fields__}
    return replace(measurement, value=speedup(blocks), samples=samples)


def test_nothing_changes_while_the_numbers_are_the_same(out: Path) -> None:
    assert regrade.regrade(LAB, out).changes == ()


def test_a_stricter_threshold_says_who_loses_how_much_and_why(out: Path) -> None:
    before = published.read(out)["ada"].points
    changes = regrade.regrade(STRICTER, out).changes
    assert {change.student for change in changes} == {"ada", "eve"}
    assert changes[0].before == before
    assert changes[0].after < before
    (reason,) = changes[0].reasons
    assert "full points were at 3.6" in reason
    assert "are at 4.5" in reason


def test_a_regrade_writes_nothing_until_it_is_published(out: Path) -> None:
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    found = regrade.regrade(STRICTER, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    regrade.publish(STRICTER, found, out)
    assert regrade.regrade(STRICTER, out).changes == ()
    assert "4.5" in (out / "ada.html").read_text()


def test_torn_evidence_is_named_and_stops_nobody_else(out: Path) -> None:
    (out / "evidence" / "eve.jsonl").write_text('{"submission": ')
    found = regrade.regrade(LAB, out)
    assert [refusal.student for refusal in found.unreadable] == ["eve"]
    assert len(found.verdicts) == 1


def test_a_metric_that_was_never_measured_is_measured_by_grading(out: Path) -> None:
    asked = (*LAB.thresholds, replace(LAB.thresholds[0], metric="delta_nll", needs=()))
    found = regrade.regrade(replace(LAB, thresholds=asked), out)
    assert "delta_nll was never measured" in found.unreadable[0].reason


def test_evidence_of_another_lab_is_refused(out: Path) -> None:
    with pytest.raises(ValueError, match="name that lab"):
        regrade.regrade(replace(LAB, number="3.9"), out)


def test_an_empty_folder_has_nothing_to_regrade(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="course grade"):
        regrade.regrade(LAB, tmp_path)


def test_a_new_student_was_not_published_before(out: Path) -> None:
    now = Published.of_verdict("new", "", decide(LAB, report_samples.graded("new").evidence))
    (change,) = published.changes(published.read(out), [now])
    assert (change.before, change.reasons) == (None, ("not published before",))


def test_a_whole_bundle_holds(out: Path) -> None:
    steps = verify.verify(out / "evidence" / "ada.jsonl", LAB)
    assert [step for step in steps if not step.held] == []
    assert len(steps) >= 12


def _broken(out: Path) -> set[str]:
    return {
        step.what for step in verify.verify(out / "evidence" / "ada.jsonl", LAB) if not step.held
    }


def test_a_changed_file_of_the_submission_is_found(out: Path) -> None:
    (out / "sealed" / "ada" / "01.ipynb").write_text("[]")
    assert _broken(out) == {"sealed copy"}


def test_a_changed_artefact_is_found(out: Path) -> None:
    path = out / "artefacts" / "ada" / "model.onnx"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert _broken(out) == {"hash of the artefact"}


def test_another_secret_is_found(out: Path) -> None:
    (out / "secret").write_bytes(b"t" * 32)
    assert _broken(out) == {"secret that the seeds come from"}


def _edited(out: Path, change: str, value: object) -> None:
    path = out / "evidence" / "ada.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    (measured,) = (line["measurements"] for line in lines if "measurements" in line)
    (speed,) = (m for m in measured if m["metric"] == "speedup")
    speed["value"][change] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_speedup_that_its_timings_do_not_say_is_found(out: Path) -> None:
    _edited(out, "high", 99.0)
    assert "speed-up from raw timings, high" in _broken(out)


def test_points_that_were_edited_are_found(out: Path) -> None:
    path = out / published.FILE
    path.write_text(path.read_text().replace('"points": 20.0', '"points": 1.0', 1))
    assert _broken(out) == {"published points"}


def test_other_code_is_said_and_is_no_fault(out: Path) -> None:
    path = out / "evidence" / "ada.jsonl"
    path.write_text(path.read_text().replace(code_digest(), "0" * 64))
    (step,) = (s for s in verify.verify(path, LAB) if s.what == "code")
    assert step.held
    assert "other code" in step.found


def test_a_number_that_moves_nobodys_points_changes_nobody(out: Path) -> None:
    lower = replace(LAB.thresholds[0], none=LAB.thresholds[0].none - 0.5, full=3.0)
    easier = replace(LAB, thresholds=(lower, *LAB.thresholds[1:]))
    points = {name: one.points for name, one in published.read(out).items()}
    assert points["ada"] == regrade.regrade(LAB, out).verdicts[0][1].points
    assert regrade.regrade(easier, out).changes == ()
