"""Claims about similarity: copies are found, what the task gives everybody is not."""

import random
from dataclasses import replace
from pathlib import Path

import report_samples

from autograder.records import Artefact, Cell, Evidence, Notebook
from autograder.similarity import Fingerprints, fingerprints, pairs

STUB = (
    "def scale(x):\n    total = 0\n    for value in x:\n        total += value\n    return total\n"
)


def _own(seed: int, lines: int = 60) -> str:
    """A program that nobody else would write."""
    draw = random.Random(seed)
    names = [f"name_{draw.randrange(10**6)}" for _ in range(20)]
    return "\n".join(
        "{} = {} * {} + {}".format(
            *draw.choices(names, k=2), draw.randrange(999), draw.choice(names)
        )
        for _ in range(lines)
    )


def _evidence(
    student: str, source: str, model: bytes = b"", folder: Path | None = None
) -> Evidence:
    one = report_samples.graded(student).evidence
    book = Notebook("01", (Cell("given", STUB), Cell("answer", source, of_student=True)))
    artefact = one.artefact
    if folder is not None and isinstance(artefact, Artefact):
        path = folder / f"{student}.onnx"
        path.write_bytes(model)
        artefact = replace(artefact, path=path)
    return replace(one, notebooks=(book,), artefact=artefact)


def _found(*evidence: Evidence) -> list[tuple[str, str, str]]:
    alike = pairs([fingerprints(each) for each in evidence])
    return [(pair.first, pair.second, pair.what) for pair in alike]


def _class(size: int = 12) -> list[Evidence]:
    return [_evidence(f"s{i:02}", f"{STUB}\n{_own(i)}") for i in range(size)]


def test_independent_work_on_one_stub_is_not_alike() -> None:
    assert _found(*_class()) == []


def test_a_copy_with_other_comments_and_layout_is_found() -> None:
    copied = "\n".join(f"{line}  # mine" for line in f"{STUB}\n\n{_own(3)}\n\n".splitlines())
    assert _found(*_class(), _evidence("z", copied)) == [("s03", "z", "code")]


def test_a_copy_with_one_part_replaced_is_found() -> None:
    lines = _own(3).splitlines()
    lines[10:14] = _own(99, 4).splitlines()
    assert _found(*_class(), _evidence("z", "\n".join(lines))) == [("s03", "z", "code")]


def test_what_the_whole_class_writes_says_nothing() -> None:
    assert _found(*(_evidence(f"s{i:02}", _own(0)) for i in range(12))) == []


def test_little_code_says_nothing() -> None:
    assert _found(*_class(), _evidence("y", "x = 1"), _evidence("z", "x = 1")) == []


def test_a_cell_that_is_no_python_is_no_error() -> None:
    assert fingerprints(_evidence("z", "def (:\n '''")).student == "z"


def _bytes(seed: int, size: int = 200_000) -> bytes:
    return random.Random(seed).randbytes(size)


def test_a_model_that_is_another_with_a_part_changed_is_found(tmp_path: Path) -> None:
    models = {f"s{i:02}": _bytes(i) for i in range(8)}
    models["z"] = b"a new head" + models["s03"][:100_000] + b"inserted" + models["s03"][100_000:]
    found = _found(*(_evidence(s, _own(hash(s)), m, tmp_path) for s, m in models.items()))
    assert found == [("s03", "z", "model")]


def test_an_untouched_baseline_in_every_model_says_nothing(tmp_path: Path) -> None:
    common = _bytes(1000)
    models = {f"s{i:02}": common + _bytes(i, 30_000) for i in range(8)}
    assert _found(*(_evidence(s, _own(hash(s)), m, tmp_path) for s, m in models.items())) == []


def test_the_order_of_the_class_does_not_matter() -> None:
    whole = [
        *(fingerprints(e) for e in _class()),
        Fingerprints("z", fingerprints(_class()[3]).code, frozenset()),
    ]
    assert pairs(whole) == pairs(list(reversed(whole)))
