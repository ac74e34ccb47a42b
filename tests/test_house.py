"""The law of imports, and what must not occur anywhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"labkit", "reference", "autograder", "course_config", "bench", "tests"}
MAY_IMPORT = {
    "labkit": set[str](),
    "reference": set[str](),
    "autograder": {"labkit"},
    "course_config": {"autograder"},
}


def _modules(package: str) -> list[Path]:
    single = ROOT / f"{package}.py"
    return [single] if single.exists() else sorted((ROOT / package).rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_the_law_of_imports_holds(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    for path in _modules(package):
        imported = {name.split(".")[0] for name in _imports(path)} & OURS
        # The command line is where the course's numbers meet the grader.
        is_command = path.parent.name == "cli" or path.name == "cli.py"
        extra = {"course_config"} if is_command else set()
        assert imported <= allowed | extra, path


def test_course_config_imports_the_vocabulary_alone() -> None:
    names = {name for path in _modules("course_config") for name in _imports(path)}
    assert names == {"autograder.lab"}


def test_functions_stay_short() -> None:
    """The house rule: a median under 15 lines, 45 at most."""
    lengths = {}
    for package in MAY_IMPORT:
        for path in _modules(package):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    place = f"{path.relative_to(ROOT)}:{node.name}"
                    lengths[place] = (node.end_lineno or 0) - node.lineno + 1
    ordered = sorted(lengths.values())
    assert ordered[len(ordered) // 2] < 15
    assert {place: length for place, length in lengths.items() if length > 45} == {}
