import json
from pathlib import Path

import minilab
import pytest

from autograder import notebook, release
from autograder.notebook import NotebookError
from autograder.release import Leak

LAB = minilab.LAB


def _released(tmp_path: Path, text: str) -> Path:
    source = minilab.write_source(tmp_path / "source")
    path = source / LAB.folder / f"{minilab.NAME}.ipynb"
    path.write_text(notebook.from_text(text, minilab.NAME))
    release.release(LAB, source, tmp_path / "release")
    return tmp_path / "release" / LAB.folder


def test_a_release_is_the_same_bytes_every_time(source: Path, tmp_path: Path) -> None:
    one = release.release(LAB, source, tmp_path / "one")
    two = release.release(LAB, source, tmp_path / "two")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_solutions_become_stubs_and_hidden_tests_vanish(released: Path) -> None:
    text = (released / LAB.folder / f"{minilab.NAME}.ipynb").read_text()
    assert "return x * 2" not in text
    assert "does not hold for a matrix" not in text
    assert "because bytes" not in text.lower()
    assert "YOUR CODE HERE" in text
    assert "the sum of two doubled ones" in text


def test_cells_keep_their_ids(source: Path, released: Path) -> None:
    def ids(folder: Path) -> list[str]:
        document = json.loads((folder / LAB.folder / f"{minilab.NAME}.ipynb").read_text())
        return [cell["id"] for cell in document["cells"]]

    assert ids(source) == ids(released)


def test_a_solution_repeated_in_a_given_cell_is_a_leak(tmp_path: Path) -> None:
    copied = "counts = {character: text.count(character) for character in set(text)}\n"
    secret = "    counts = {character: text.count(character) for character in set(text)}\n"
    text = minilab.TEXT.replace("    return {character", f"{secret}    return {{character")
    text += f"\n# %% given\ntext = 'aab'\n{copied}"
    with pytest.raises(Leak, match="given gives away"):
        _released(tmp_path, text)


def test_a_hidden_test_repeated_in_prose_code_is_a_leak(tmp_path: Path) -> None:
    line = 'assert count("xyx") == {"x": 2, "y": 1}, "the counts are wrong for a text with two'
    text = minilab.TEXT + f'\n# %% given\n{line} characters"\n'
    with pytest.raises(Leak):
        _released(tmp_path, text)


def test_a_marker_that_survives_is_a_leak(tmp_path: Path) -> None:
    with pytest.raises(Leak, match="marker"):
        source = minilab.write_source(tmp_path / "source")
        (source / LAB.folder / "README.md").write_text("### BEGIN SOLUTION\n")
        release.release(LAB, source, tmp_path / "release")


def test_points_without_hidden_tests_are_refused(tmp_path: Path) -> None:
    text = minilab.TEXT.replace(
        "### BEGIN HIDDEN TESTS\nassert count", "### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS\n#"
    ).replace('two characters"\n### END HIDDEN TESTS', 'two characters"')
    with pytest.raises(NotebookError, match="no hidden tests"):
        _released(tmp_path, text)


def test_drift_names_the_files_that_differ(source: Path, tmp_path: Path) -> None:
    release.release(LAB, source, tmp_path)
    assert release.drift(LAB, source, tmp_path) == []
    (tmp_path / LAB.folder / "README.md").write_text("edited by hand")
    (tmp_path / LAB.folder / "notes.txt").write_text("extra")
    assert release.drift(LAB, source, tmp_path) == ["README.md", "notes.txt"]


def test_a_notebook_goes_to_text_and_back_byte_for_byte(source: Path) -> None:
    path = source / LAB.folder / f"{minilab.NAME}.ipynb"
    assert notebook.from_text(notebook.to_text(path), path.name) == path.read_text()


def test_a_notebook_with_outputs_is_not_in_normal_form(source: Path, tmp_path: Path) -> None:
    document = json.loads((source / LAB.folder / f"{minilab.NAME}.ipynb").read_text())
    code = next(cell for cell in document["cells"] if cell["cell_type"] == "code")
    code["execution_count"] = 3
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps(document))
    with pytest.raises(NotebookError, match="normal form"):
        notebook.read(path)
    notebook.normalise(path)
    assert notebook.read(path)
