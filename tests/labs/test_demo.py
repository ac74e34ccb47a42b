"""`make demo` from end to end: both ends of every threshold, on the lab as it is released."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "autograder.cli", "demo", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert (out / "index.html").is_file()
    return json.loads((out / "summary.json").read_text())


def _artefact_points(graded: dict[str, Any]) -> list[float | None]:
    names = ("compression_ratio", "accuracy_kept", "speedup")
    return [graded["checks"][name]["points"] for name in names]


def test_the_reference_earns_all_points(summary: dict[str, Any]) -> None:
    graded = summary["instructor"]
    missing = [check for check in graded["checks"].values() if check["points"] is None]
    assert graded["points"] == graded["of"] - sum(check["of"] for check in missing)
    assert all("avx512_vnni" in check["note"] for check in missing)


def test_the_unmodified_model_and_an_attack_earn_no_artefact_points(
    summary: dict[str, Any],
) -> None:
    for name in ("naive", "attack", "empty"):
        assert not any(_artefact_points(summary[name])), name


def test_an_empty_release_earns_nothing(summary: dict[str, Any]) -> None:
    assert summary["empty"]["points"] == 0


def test_a_crash_costs_its_own_exercises_alone(summary: dict[str, Any]) -> None:
    lost = {name for name, check in summary["crash"]["checks"].items() if check["points"] == 0}
    assert lost == {
        "01-Setup_and_Basic_Quantization/test-sqnr",
        "02-Static_Quantization/test-percentile-range",
    }
