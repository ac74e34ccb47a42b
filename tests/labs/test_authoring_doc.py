"""The example of docs/authoring.md is a file of the registry, and its counts are the registry's."""

import re
from pathlib import Path

from course_config import LAB_3_1

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "authoring.md").read_text()
FILES = sorted((ROOT / "tests" / "labs" / "wrong" / LAB_3_1.folder).glob("*.py"))


def test_the_example_is_a_whole_file_of_the_registry() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    name = re.search(r"a whole file, `(\w+\.py)`", PAGE)
    assert name
    assert example == next(path for path in FILES if path.name == name[1]).read_text()


def test_the_counts_are_those_of_lab_3_1() -> None:
    wrong = sum("\n# wrong: " in path.read_text() for path in FILES)
    assert f"the {len(FILES)} of lab 3.1" in PAGE
    assert f"Of the {wrong} wrong ones of lab 3.1" in PAGE
