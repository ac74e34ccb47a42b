import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import minilab
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder import notebook as autograder_notebook
from autograder import notebook_file
from autograder.intake import seal
from autograder.notebook import SourceCell
from autograder.rebuild import rebuild
from autograder.records import Notebook, Submission

Edit = Callable[[list[dict[str, Any]]], object]


@pytest.fixture
def rebuilt(source: Path, cells: list[SourceCell], tmp_path: Path) -> Callable[[Edit], Notebook]:
    """The notebook rebuilt from the instructor's, after an edit of its cells."""

    def make(edit: Edit) -> Notebook:
        path = source / minilab.LAB.folder / f"{minilab.NAME}.ipynb"
        document = json.loads(path.read_text())
        edit(document["cells"])
        folder = tmp_path / "student"
        folder.mkdir()
        (folder / path.name).write_text(json.dumps(document))
        sealed = seal(folder, minilab.LAB, tmp_path / "vault")
        assert isinstance(sealed, Submission)
        return rebuild(minilab.NAME, cells, sealed)

    return make


def _cell(document: list[dict[str, Any]], cell_id: str) -> dict[str, Any]:
    return next(cell for cell in document if cell["id"] == cell_id)


def _source(notebook: Notebook, cell_id: str) -> str:
    return next(cell.source for cell in notebook.cells if cell.id == cell_id)


def test_a_changed_test_cell_is_put_back(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: _cell(document, "test-double").update(source="pass"))
    assert "the sum of two doubled ones" in _source(notebook, "test-double")


def test_a_deleted_test_cell_is_put_back_and_said(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: document.remove(_cell(document, "test-double")))
    assert "the sum of two doubled ones" in _source(notebook, "test-double")
    assert "costs nothing" in notebook.findings[0].message


def test_a_deleted_solution_is_not_replaced_by_ours(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: document.remove(_cell(document, "double")))
    assert _source(notebook, "double") == ""
    assert "not answered" in notebook.findings[0].message


def test_a_renamed_solution_still_runs_as_a_cell_of_the_student(
    rebuilt: Callable[[Edit], Notebook],
) -> None:
    def rename(document: list[dict[str, Any]]) -> None:
        _cell(document, "double").update(id="mine", metadata={})

    notebook = rebuilt(rename)
    added = next(cell for cell in notebook.cells if cell.id.startswith("added"))
    assert "return x * 2" in added.source
    order = [cell.id for cell in notebook.cells]
    assert order.index(added.id) < order.index("test-double")


def test_an_id_that_stands_twice_runs_twice_and_is_said(
    rebuilt: Callable[[Edit], Notebook],
) -> None:
    def duplicate(document: list[dict[str, Any]]) -> None:
        document.append({**_cell(document, "double"), "source": "half = None"})

    notebook = rebuilt(duplicate)
    assert "return x * 2" in _source(notebook, "double")
    assert any(cell.source == "half = None" for cell in notebook.cells)
    assert "twice" in notebook.findings[0].message


@pytest.mark.parametrize("marks", [[], None, 3, {"grade_id": None}])
def test_damaged_metadata_of_one_cell_costs_nothing(
    rebuilt: Callable[[Edit], Notebook], marks: object
) -> None:
    edit = lambda document: _cell(document, "double").update(metadata={"nbgrader": marks})  # noqa: E731
    assert "return x * 2" in _source(rebuilt(edit), "double")


@pytest.mark.parametrize(
    "content",
    ["", "not json", "[]", '{"cells": 3}', "[" * 10**5, '{"nbformat": 4, "cells": [3]}',
     '{"nbformat": 4, "cells": 3}', '{"nbformat": 4, "cells": [{"source": [1]}]}'],
)  # fmt: skip
def test_a_file_that_is_no_notebook_is_a_finding(
    content: str, cells: list[SourceCell], tmp_path: Path
) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / f"{minilab.NAME}.ipynb").write_text(content)
    sealed = seal(folder, minilab.LAB, tmp_path / "vault")
    assert isinstance(sealed, Submission)
    notebook = rebuild(minilab.NAME, cells, sealed)
    assert "could not be read as a Jupyter notebook" in notebook.findings[0].message
    assert all(cell.source == "" for cell in notebook.cells if cell.of_student)


def test_a_missing_notebook_is_a_finding(cells: list[SourceCell], tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    sealed = seal(tmp_path / "student", minilab.LAB, tmp_path / "vault")
    assert isinstance(sealed, Submission)
    assert "not in the submission" in rebuild(minilab.NAME, cells, sealed).findings[0].message


def test_a_changed_given_cell_is_put_back_and_said(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: _cell(document, "imports").update(source="import math"))
    assert "import torch" in _source(notebook, "imports")
    assert "original was run" in notebook.findings[0].message


def test_an_untouched_notebook_has_no_findings(rebuilt: Callable[[Edit], Notebook]) -> None:
    assert rebuilt(lambda document: None).findings == ()


def test_no_hidden_test_is_in_what_runs(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: None)
    assert not any("does not hold for a matrix" in cell.source for cell in notebook.cells)


def _document(cells: list[SourceCell], answer: str) -> str:
    body = [
        {"id": c.id, "cell_type": c.kind, "metadata": {}, "source": answer}
        for c in cells
        if c.role == "solution"
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": body})


def _handed_in(
    files: dict[str, str], cells: list[SourceCell], tmp_path: Path
) -> tuple[str, list[str]]:
    """What runs as the answer to `double`, and what is said of the notebook as a whole."""
    for path, content in files.items():
        target = tmp_path / "student" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    sealed = seal(tmp_path / "student", minilab.LAB, tmp_path / "vault")
    assert isinstance(sealed, Submission)
    notebook = rebuild(minilab.NAME, cells, sealed)
    of_file = [f.message for f in notebook.findings if f.subject == "01-Mini.ipynb"]
    return _source(notebook, "double"), of_file


@pytest.mark.parametrize("path", ["lab/week 1/01-Mini.ipynb", "01-MINI.ipynb", "a/01-mini.ipynb"])
def test_a_notebook_is_found_wherever_it_lies(
    path: str, cells: list[SourceCell], tmp_path: Path
) -> None:
    answer, said = _handed_in({path: _document(cells, "mine"), "x": ""}, cells, tmp_path)
    assert answer == "mine"
    assert said == [
        f"It was read from {path}. Hand it in as 01-Mini.ipynb, beside the other notebooks and "
        "not below a folder."
    ]


def test_the_least_deep_notebook_is_the_one_that_counts(
    cells: list[SourceCell], tmp_path: Path
) -> None:
    files = {
        "01-Mini.ipynb": _document(cells, "mine"),
        "old/01-Mini.ipynb": _document(cells, "old"),
        "a/b/01-Mini.ipynb": _document(cells, "older"),
    }
    assert _handed_in(files, cells, tmp_path) == ("mine", [])


def test_of_two_notebooks_as_deep_none_is_guessed(cells: list[SourceCell], tmp_path: Path) -> None:
    files = {f"{folder}/01-Mini.ipynb": _document(cells, folder) for folder in ("a", "b")}
    answer, (said,) = _handed_in(files, cells, tmp_path)
    assert answer == ""
    assert "2 times, with different contents: a/01-Mini.ipynb, b/01-Mini.ipynb" in said


def test_copies_of_the_same_notebook_are_one(cells: list[SourceCell], tmp_path: Path) -> None:
    files = {f"{folder}/01-Mini.ipynb": _document(cells, "same") for folder in ("a", "b")}
    assert _handed_in(files, cells, tmp_path)[0] == "same"


def test_a_notebook_of_another_name_is_shown_where_ours_is_missing(
    cells: list[SourceCell], tmp_path: Path
) -> None:
    _, (said,) = _handed_in({"01-Mini (1).ipynb": "{}"}, cells, tmp_path)
    assert "it holds 01-Mini (1).ipynb" in said


def test_another_version_of_the_format_is_named(cells: list[SourceCell], tmp_path: Path) -> None:
    _, (said,) = _handed_in({"01-Mini.ipynb": '{"nbformat": 3}'}, cells, tmp_path)
    assert "is of nbformat 3; expected 4" in said


def test_code_that_is_too_long_is_not_run_in_part(rebuilt: Callable[[Edit], Notebook]) -> None:
    long = "x = 1\n" * 20_000
    notebook = rebuilt(lambda document: _cell(document, "double").update(source=long))
    assert _source(notebook, "double") == ""
    (finding,) = notebook.findings
    assert finding.subject == "01-Mini, cell double"
    assert "It has 120,000 characters; at most 100,000. The cell was not run." in finding.message


def test_prose_that_is_too_long_is_cut_and_said(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: _cell(document, "why").update(source="y" * 100_001))
    assert notebook.by_hand[0].answer == "y" * 100_000
    assert "The rest was cut off" in notebook.findings[0].message


def test_cells_beyond_the_limit_are_counted(rebuilt: Callable[[Edit], Notebook]) -> None:
    more = [{"id": f"m{i}", "cell_type": "code", "metadata": {}, "source": "1"} for i in range(600)]
    notebook = rebuilt(lambda document: document.extend(more))
    assert "the first 500 were read" in notebook.findings[-1].message


def test_findings_on_one_notebook_end(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: document.extend([_cell(document, "double")] * 200))
    assert len(notebook.findings) == 50
    assert "151 more findings" in notebook.findings[-1].message


def test_half_a_character_in_a_cell_can_be_written_to_a_file(
    rebuilt: Callable[[Edit], Notebook],
) -> None:
    notebook = rebuilt(lambda document: _cell(document, "double").update(source="'\ud800'"))
    assert _source(notebook, "double").encode() == b"'?'"


def _read(raw: bytes) -> notebook_file.Contents:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "n.ipynb"
        path.write_bytes(raw)
        return notebook_file.read(path)


def test_outputs_of_forty_megabytes_are_no_matter(cells: list[SourceCell]) -> None:
    document = json.loads(_document(cells, "mine"))
    document["cells"][0]["outputs"] = [{"data": {"image/png": "A" * 40 * 1024**2}}]
    document["metadata"]["widgets"] = {"state": ["]}", {"x": "B" * 1024**2}]}
    assert {cell.text for cell in _read(json.dumps(document).encode()).cells} == {"mine"}


def test_nine_megabytes_of_code_say_what_may_be() -> None:
    with pytest.raises(notebook_file.NotANotebook, match="without its outputs; at most 8,388,608"):
        _read(b'{"nbformat": 4, "cells": [{"source": "' + b"x" * 9 * 1024**2 + b'"}]}')


@pytest.mark.parametrize("unit", [b'"', b'"\\', b'\\"', b"[", b'"outputs": [', b'"outputs" '])
def test_no_file_makes_the_search_for_outputs_start_over(unit: bytes) -> None:
    """A search that is quadratic in these 16 MB does not end within the test's patience."""
    with pytest.raises(notebook_file.NotANotebook):
        _read(unit * (16 * 1024**2 // len(unit)))


TEXT = st.text(max_size=20) | st.sampled_from(
    ['"outputs": [', '{"outputs": {', "]}", '\\"', "\\", '"attachments":{']
)
LEAF = TEXT | st.integers() | st.none()
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
CELL = st.fixed_dictionaries(
    {"id": TEXT, "cell_type": st.sampled_from(["code", "markdown"]), "source": TEXT},
    optional={"outputs": st.lists(VALUE), "attachments": st.dictionaries(TEXT, VALUE, max_size=2)},
)


@given(st.lists(CELL, max_size=5), st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=300, deadline=None)
def test_every_cell_is_read_whatever_stands_in_its_text_and_outputs(
    drawn: list[dict[str, Any]], ascii_only: bool, indent: int | None
) -> None:
    document = {"cells": drawn, "nbformat": 4}
    raw = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    found = [(cell.id, cell.kind, cell.text) for cell in _read(raw).cells]
    assert found == [(cell["id"], cell["cell_type"], cell["source"]) for cell in drawn]


@given(st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=5)), max_size=5), st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_a_damaged_notebook_is_read_or_refused(
    edits: list[tuple[float, bytes]], kept: float
) -> None:
    changed = bytearray(notebook_text())
    for place, inserted in edits:
        at = int(place * (len(changed) - 1))
        changed[at : at + 1] = inserted
    try:
        contents = _read(bytes(changed[: int(kept * len(changed))] if kept < 0.5 else changed))
    except notebook_file.NotANotebook as problem:
        assert str(problem)
    else:
        assert all(isinstance(cell.text, str) for cell in contents.cells)


def notebook_text() -> bytes:
    return autograder_notebook.from_text(minilab.TEXT, minilab.NAME).encode()
