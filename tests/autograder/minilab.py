"""Two labs of one small notebook, for the tests of the grader: everything real, only less of it.

`LAB` has all that a lab can have. `STUB` has exercises alone, no data set and no artefact: a
submission of it is graded in the time that its process takes to start.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from autograder import notebook
from autograder.lab import MIB, Artefact, Intake, Lab, Limits, Requirement, Threshold

NAME = "01-Mini"
TEXT = '''# %% intro [markdown]
# Twice a tensor, and a compressed model.

# %% imports
import torch

import labkit

# %% double role="solution"
def double(x: torch.Tensor) -> torch.Tensor:
    """Every element times two; raises ValueError for an empty tensor."""
    ### BEGIN SOLUTION
    if x.numel() == 0:
        raise ValueError("x is empty, expected at least one element")
    return x * 2
    ### END SOLUTION

# %% test-double role="test" points=4
assert double(torch.ones(2)).sum() == 4, "the sum of two doubled ones is 4"
### BEGIN HIDDEN TESTS
x = torch.arange(6.0).view(2, 3)
assert torch.equal(double(x), x + x), "double does not hold for a matrix"
try:
    double(torch.ones(0))
except ValueError:
    pass
else:
    raise AssertionError("an empty tensor must raise ValueError")
### END HIDDEN TESTS

# %% count role="solution"
def count(text: str) -> dict[str, int]:
    """How often each character stands in a text."""
    ### BEGIN SOLUTION
    return {character: text.count(character) for character in set(text)}
    ### END SOLUTION

# %% test-count role="test" points=2
assert count("aab")["a"] == 2, "there are two a in aab"
### BEGIN HIDDEN TESTS
assert count("xyx") == {"x": 2, "y": 1}, "the counts are wrong for a text with two characters"
### END HIDDEN TESTS

# %% build role="solution"
### BEGIN SOLUTION
model = labkit.baselines.load("resnet_cifar10")
images = labkit.data.batch(labkit.data.cifar10("validation").select(range(64))).images
fp32 = labkit.export.to_onnx(model, "fp32.onnx")
ranges = {}
for edges in labkit.export.activations(fp32, images):
    for name, values in edges.items():
        low, high = ranges.get(name, (0.0, 0.0))
        ranges[name] = (min(low, values.min().item()), max(high, values.max().item()))
labkit.export.int8_static(fp32, ranges, "model.onnx")
### END SOLUTION

# %% hand-in
labkit.submit("model.onnx")

# %% why [markdown] role="reflection" points=3
# ### BEGIN SOLUTION
# Because bytes are not free.
# ### END SOLUTION
'''

LAB = Lab(
    number="0.1",
    slug="Mini",
    title="A small lab",
    notebooks=(NAME,),
    datasets=("cifar10",),
    artefact=Artefact("model.onnx", "resnet_cifar10", "cifar10", hidden_count=300),
    thresholds=(
        Threshold("compression_ratio", 3.5, 2.0, "x", 5, "for tests", ("accuracy_kept",)),
        Threshold(
            "accuracy_kept", 95, 80, "% of the baseline", 5, "for tests", ("compression_ratio",)
        ),
        Threshold(
            "speedup", 1.2, 1.0, "x", 5, "for tests", ("compression_ratio", "accuracy_kept"),
            Requirement(isa=("avx512_vnni",)),
        ),
    ),
    limits=Limits(wall_clock_s=60, cell_s=20, call_s=5),
    intake=Intake(file_bytes=2 * MIB, total_bytes=4 * MIB, files=20),
)  # fmt: skip


STUB_NAME = "01-Stub"
STUB_TEXT = """# %% intro [markdown]
# Three small functions.

# %% twice role="solution"
def twice(x: float) -> float:
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% test-twice role="test" points=2
assert twice(2) == 4, "twice two is 4"
### BEGIN HIDDEN TESTS
assert twice(-1.5) == -3.0, "twice does not hold for a negative number"
### END HIDDEN TESTS

# %% words role="solution"
def words(text: str) -> list[str]:
    ### BEGIN SOLUTION
    return text.split()
    ### END SOLUTION

# %% test-words role="test" points=2
assert words("a b") == ["a", "b"], "there are two words in 'a b'"
### BEGIN HIDDEN TESTS
assert words("  one   two ") == ["one", "two"], "spaces are no words"
### END HIDDEN TESTS

# %% total role="solution"
def total(numbers: list[int]) -> int:
    ### BEGIN SOLUTION
    return sum(numbers)
    ### END SOLUTION

# %% test-total role="test" points=3
assert total([1, 2]) == 3, "1 and 2 are 3"
### BEGIN HIDDEN TESTS
assert total([5, -7, 40]) == 38, "the total is wrong with a negative number"
### END HIDDEN TESTS
"""

STUB = Lab(
    number="0.2",
    slug="Stub",
    title="A lab of exercises alone",
    notebooks=(STUB_NAME,),
    datasets=(),
    limits=Limits(wall_clock_s=60, cell_s=20, call_s=5),
    intake=Intake(file_bytes=2 * MIB, total_bytes=4 * MIB, files=20),
)


def hand_in_stub(
    folder: Path, student: str, replaced: Mapping[str, str] = MappingProxyType({})
) -> None:
    """A student's folder below `folder`: the stub's solution, some cells replaced, by id."""
    document = json.loads(notebook.from_text(STUB_TEXT, STUB_NAME))
    for cell in document["cells"]:
        cell["source"] = replaced.get(cell["id"], cell["source"])
    (folder / student).mkdir(parents=True)
    (folder / student / f"{STUB_NAME}.ipynb").write_text(json.dumps(document), encoding="utf-8")


def write_source(folder: Path) -> Path:
    """The source folder that holds both labs."""
    for lab, name, text in ((LAB, NAME, TEXT), (STUB, STUB_NAME, STUB_TEXT)):
        target = folder / lab.folder
        target.mkdir(parents=True)
        (target / f"{name}.ipynb").write_text(notebook.from_text(text, name), encoding="utf-8")
        (target / "README.md").write_text(f"# {lab.title}\n", encoding="utf-8")
    return folder
