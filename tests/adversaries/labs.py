"""The labs that the corpus attacks: one of exercises alone, one that hands in a model."""

from autograder.lab import MIB, Artefact, Intake, Lab, Limits, Threshold

EXERCISES = """# %% intro [markdown]
# Four small functions.

# %% given
import torch

from labkit import draws

# %% scale role="solution"
def scale(x: torch.Tensor, by: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    if x.numel() == 0:
        raise ValueError("x is empty, expected at least one element")
    return x * by
    ### END SOLUTION

# %% test-scale role="test" points=3
assert torch.equal(scale(torch.ones(2), 3.0), torch.tensor([3.0, 3.0])), "3 times one is 3"
### BEGIN HIDDEN TESTS
x = torch.randn(4, 3, generator=draws.generator())
assert torch.equal(scale(x, 2.5), x * 2.5), "scale does not hold for a matrix"
try:
    scale(torch.ones(0), 2.0)
except ValueError:
    pass
else:
    raise AssertionError("an empty tensor must raise ValueError")
### END HIDDEN TESTS

# %% mean role="solution"
def mean(values: list[float]) -> float:
    ### BEGIN SOLUTION
    return sum(values) / len(values)
    ### END SOLUTION

# %% test-mean role="test" points=2
assert mean([1.0, 3.0]) == 2.0, "the mean of 1 and 3 is 2"
### BEGIN HIDDEN TESTS
expected = {"osprey-8152": 2.6666666666666665}
assert mean([0.5, 0.25, 7.25]) == expected["osprey-8152"], "the mean of three is wrong"
assert mean([4.0]) == 4.0, "the mean of one value is the value"
### END HIDDEN TESTS

# %% shout role="solution"
def shout(text: str) -> str:
    ### BEGIN SOLUTION
    return text.upper() + "!"
    ### END SOLUTION

# %% test-shout role="test" points=2
assert shout("a") == "A!", "a shouted is A!"
### BEGIN HIDDEN TESTS
assert shout("kestrel") == "KESTREL!", "kestrel shouted is KESTREL!"
assert len(shout("")) == 1, "nothing shouted is one character"
### END HIDDEN TESTS

# %% ranks role="solution"
def ranks(values: list[int]) -> list[int]:
    ### BEGIN SOLUTION
    order = sorted(values)
    return [order.index(value) for value in values]
    ### END SOLUTION

# %% test-ranks role="test" points=2
assert ranks([5, 1]) == [1, 0], "5 comes after 1"
### BEGIN HIDDEN TESTS
assert ranks([7, 7, 2, 9]) == [1, 1, 0, 3], "the ranks are wrong where two values are equal"
### END HIDDEN TESTS
"""

MODEL = """# %% intro [markdown]
# A network of three layers, made smaller.

# %% given
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import labkit

state = labkit.baselines.load("mlp_fashion_mnist").state_dict()
weights = {name: tensor.numpy() for name, tensor in state.items()}

def network(weights):
    # The baseline as ONNX, in FP32.
    nodes = [helper.make_node("Flatten", ["images"], ["x0"])]
    for i in range(3):
        names = [f"x{i}", f"layers.{i}.weight", f"layers.{i}.bias"]
        nodes.append(helper.make_node("Gemm", names, ["logits" if i == 2 else f"y{i}"], transB=1))
        if i < 2:
            nodes.append(helper.make_node("Relu", [f"y{i}"], [f"x{i + 1}"]))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, 28, 28])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", [images], [logits], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

def hand_in(content):
    # Past labkit.submit and what it checks.
    with open(os.environ["LABKIT_OUT"] + "/model.onnx", "wb") as file:
        file.write(content)

# %% build role="solution"
### BEGIN SOLUTION
onnx.save(network(weights), "fp32.onnx")
labkit.export.int8_dynamic("fp32.onnx", "model.onnx")
labkit.submit("model.onnx", takes=labkit.export.images((1, 28, 28), classes=10))
### END SOLUTION
"""

exercises = Lab(
    number="0.8",
    slug="Exercises",
    title="Exercises to attack",
    notebooks=("01-Exercises",),
    datasets=(),
    limits=Limits(wall_clock_s=60, cell_s=4, call_s=2, exercise_s=6, processes=64),
    intake=Intake(file_bytes=1 * MIB, total_bytes=2 * MIB, files=20),
)
limited = Lab(
    number="0.7",
    slug="Limits",
    title="Exercises to attack, with little memory",
    notebooks=("01-Exercises",),
    datasets=(),
    limits=Limits(
        wall_clock_s=60, cell_s=4, call_s=2, exercise_s=6, processes=64,
        memory_bytes=3072 * MIB, output_bytes=64 * MIB, output_files=2000, log_bytes=10_000,
    ),
    intake=Intake(file_bytes=1 * MIB, total_bytes=2 * MIB, files=20),
)  # fmt: skip
model = Lab(
    number="0.9",
    slug="Model",
    title="A model to attack",
    notebooks=("01-Model",),
    datasets=("fashion_mnist",),
    artefact=Artefact("model.onnx", "mlp_fashion_mnist", "fashion_mnist", hidden_count=400),
    thresholds=(
        Threshold("compression_ratio", 3.5, 1.5, "x", 5, "for attacks", ("accuracy_kept",)),
        Threshold(
            "accuracy_kept", 95, 80, "% of the baseline", 5, "for attacks", ("compression_ratio",)
        ),
    ),
    limits=Limits(wall_clock_s=60, cell_s=20, call_s=5),
    intake=Intake(file_bytes=1 * MIB, total_bytes=2 * MIB, files=20),
)
LABS = {
    "controls": (exercises, {"01-Exercises": EXERCISES}),
    "notebook": (exercises, {"01-Exercises": EXERCISES}),
    "submission": (exercises, {"01-Exercises": EXERCISES}),
    "limits": (limited, {"01-Exercises": EXERCISES}),
    "model": (model, {"01-Model": MODEL}),
}
