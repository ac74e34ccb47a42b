"""What a hidden test may do with a student's functions, classes and objects, and what it may not.

The student's side answers from the same process here, over the same bytes as across the pipe.
"""

import json
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from autograder import wire
from autograder.contracts import contracts
from autograder.examine import namespace
from autograder.notebook import SourceCell
from autograder.objects import Objects
from autograder.proxies import Examined
from autograder.run import RaisedByStudent

SOURCE = '''
import torch
from collections.abc import Callable
from torch import nn
from labkit.models import MlpSpec, build

class Observer:
    """Remembers the largest value."""
    def __init__(self, start: float = 0.0):
        self.high = start
    def update(self, x):
        self.high = max(self.high, x.max().item())
        return self
    def scale(self, bits: int) -> float:
        return self.high / (2**bits - 1)
    def copy(self) -> "Observer":
        return Observer(self.high)
    @classmethod
    def of(cls, x) -> "Observer":
        return cls(x.max().item())
    def __len__(self):
        return 3
    def __getitem__(self, index):
        if index > 2: raise IndexError(index)
        return index * self.high

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))
    def forward(self, x):
        return x @ self.weight

def high_of(observer):
    return observer.high

def schedule(rate: float) -> Callable[[int], float]:
    return lambda step: rate * step

def hooked(model) -> nn.Module:
    model.layers[0].register_forward_hook(lambda module, args, y: y + 1)
    return model

def plain(width: int) -> nn.Module:
    return build(MlpSpec(width, (4,), 2))

def apply(function, x):
    return function(x)

def square(x):
    return x * x

def draw(generator, count: int):
    return torch.rand(count, generator=generator)

class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, step):
        return (x / step).round() * step
    @staticmethod
    def backward(ctx, gradient):
        return gradient, None

def fake_quantize(x, step):
    return Straight.apply(x, step)

def both(x, y):
    return {"product": x * y, "count": x.numel(), "parts": [x.exp(), y.detach()]}
'''


class Nearby:
    """A StudentProcess without the process. Messages pass as JSON, as they do in frames."""

    def __init__(self, source: str) -> None:
        notebook = ModuleType("__main__")
        exec(source, notebook.__dict__)
        self.objects = Objects(notebook.__dict__)

    def answer(self, question: wire.Message, blob: bytes) -> tuple[Any, bytes]:
        try:
            tree, answer_blob = self.objects.answer(json.loads(json.dumps(question)), blob)
        except Exception as error:
            raise RaisedByStudent(type(error).__name__, str(error)) from error
        return json.loads(json.dumps(tree)), answer_blob


def _names(student: str = SOURCE) -> dict[str, Any]:
    ours = [SourceCell("cell", "code", SOURCE, "solution", 0)]
    nearby: Any = Nearby(student)
    return namespace(ours, Examined(nearby, contracts(ours)).name)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    return _names()


def test_a_test_constructs_a_class_calls_its_methods_and_reads_it(names: dict[str, Any]) -> None:
    observer = names["Observer"](start=1.0)
    assert observer.high == 1.0
    observer.high = 2.0
    assert observer.scale(bits=2) == 2 / 3
    assert isinstance(observer, names["Observer"])
    assert not isinstance(2.0, names["Observer"])


def test_objects_are_arguments_and_keep_their_identity(names: dict[str, Any]) -> None:
    one, two = names["Observer"](1.0), names["Observer"](2.0)
    assert (names["high_of"](one), names["high_of"](two)) == (1.0, 2.0)
    assert one.copy().high == 1.0
    assert one.copy() is not one


def test_a_class_has_other_constructors_a_length_and_items(names: dict[str, Any]) -> None:
    observer = names["Observer"].of(torch.tensor([1.0, 4.0]))
    assert len(observer) == 3
    assert list(observer) == [0.0, 4.0, 8.0]


def test_a_module_of_the_student_is_called_and_read(names: dict[str, Any]) -> None:
    layer = names["Layer"]()
    assert layer.eval() is layer
    assert torch.equal(layer(torch.ones(1, 2)), torch.full((1, 2), 2.0))
    assert torch.equal(layer.weight, torch.ones(2, 2))
    assert set(layer.state_dict()) == {"weight"}


def test_a_function_that_is_annotated_so_answers_with_a_function(names: dict[str, Any]) -> None:
    assert names["schedule"](0.5)(4) == 2.0


def test_an_annotated_module_crosses_as_data_where_a_spec_describes_it(
    names: dict[str, Any],
) -> None:
    model = names["plain"](8)
    assert type(model).__name__ == "Mlp"
    hooked = names["hooked"](model)
    x = torch.randn(3, 8)
    assert not torch.equal(hooked(x), model(x)), "the hook was lost on the way"


def test_functions_cross_by_name(names: dict[str, Any]) -> None:
    x = torch.tensor([-1.0, 2.0])
    apply = names["apply"]
    assert apply(names["square"], x).tolist() == [1, 4]
    assert apply(torch.relu, x).tolist() == [0, 2]
    assert apply(torch.nn.functional.relu, x).tolist() == [0, 2]
    with pytest.raises(wire.WireError, match="defined in the hidden test"):
        apply(lambda x: x, x)


def test_a_method_of_an_object_is_an_argument(names: dict[str, Any]) -> None:
    assert names["apply"](names["Observer"](6.0).scale, 2) == 2.0


def test_a_generator_draws_there_what_it_would_draw_here(names: dict[str, Any]) -> None:
    here, there = (torch.Generator().manual_seed(3) for _ in range(2))
    torch.rand(5, generator=here), torch.rand(5, generator=there)
    assert torch.equal(names["draw"](there, 4), torch.rand(4, generator=here))


def test_an_index_error_ends_a_loop_and_a_value_error_is_itself(names: dict[str, Any]) -> None:
    with pytest.raises(IndexError):
        names["Observer"]()[7]
    with pytest.raises(RuntimeError, match=r"Observer\.nothing raised AttributeError"):
        _ = names["Observer"]().nothing


LIAR = (
    SOURCE
    + """
class Liar:
    shape, dtype = (2,), torch.float32
    def equal(self, other): return True
    def sub(self, other): return torch.zeros(2)
    def __eq__(self, other): return True
    def __len__(self): return 2
    def __getitem__(self, index): return 1.0

class Observer(Observer):
    high = Liar()
    def update(self, x): return self
    def scale(self, bits): return Liar()
    def equal(self, other): return True

def square(x): return Liar()
def apply(function, x): return function
def schedule(rate): return Liar()
"""
)


@pytest.mark.parametrize(
    "use",
    [
        lambda n, x: n["square"](x).equal(x),  # an object that agrees with everything
        lambda n, x: n["Observer"]().update(x).equal(x),  # the object itself, for an answer
        lambda n, x: n["Observer"]().scale(2).equal(x),
        lambda n, x: n["apply"](n["Observer"](), x).equal(x),
        lambda n, x: n["apply"](n["square"], x).equal(x),
    ],
)
def test_an_object_where_data_should_be_is_refused(use: Any) -> None:
    with pytest.raises(RuntimeError, match=r"where data should be|cannot be returned"):
        use(_names(LIAR), torch.ones(2))


def test_an_object_that_may_be_one_is_equal_to_nothing_else() -> None:
    liar = _names(LIAR)["schedule"](1.0)
    wanted = torch.ones(2)
    assert (liar == wanted) is False
    for compare in (torch.equal, torch.allclose, torch.sub):
        with pytest.raises(TypeError):
            compare(liar, wanted)


@pytest.mark.parametrize(
    "reference",
    [
        {"kind": "Named", "name": "square", "attribute": ""},
        {"kind": "Held", "number": 2**40, "attribute": ""},
        {"kind": "Held", "number": 0, "attribute": "equal"},
        {"kind": "Held", "number": True, "attribute": ""},
        {"kind": "Library", "module": "os", "name": "system"},
        {"kind": "Library", "module": "torch", "name": "load"},
        {"kind": "Drawing", "device": "cpu", "state": ""},
        {"kind": "Held"},
        {"kind": "Process", "number": 1},
    ],
)
@pytest.mark.parametrize("name", ["square", "Observer"])
def test_a_forged_reference_is_refused(reference: dict[str, Any], name: str) -> None:
    class Forger:
        def answer(self, question: wire.Message, blob: bytes) -> tuple[Any, bytes]:
            return {"reference": reference}, b""

    ours = [SourceCell("cell", "code", SOURCE, "solution", 0)]
    forger: Any = Forger()
    with pytest.raises(RuntimeError, match="WireError"):
        Examined(forger, contracts(ours)).name(name)(Tensor())


@pytest.mark.parametrize("module", ["os", "subprocess", "builtins", "autograder.wire"])
def test_only_functions_of_torch_and_labkit_are_resolved_by_name(module: str) -> None:
    from autograder.references import Library, of_library, to_library

    with pytest.raises(wire.WireError, match="not a function of torch or labkit"):
        to_library(Library(module, "system"))
    assert of_library(len) is None


@pytest.mark.parametrize(
    ("annotation", "may"),
    [
        ("Observer", True), ("'Observer'", True), ("list[Observer]", True), ("nn.Module", True),
        ("Callable[[int], float]", True), ("tuple[Observer, ...]", True),
        ("Tensor", False), ("tuple[Tensor, Observer]", False), ("Observer | Tensor", False),
        ("list[Tensor]", False), ("dict[str, Observer]", False), ("None", False),
    ],
)  # fmt: skip
def test_an_answer_is_an_object_only_if_the_source_allows_nothing_else(
    annotation: str, may: bool
) -> None:
    text = f"class Observer: ...\ndef f() -> {annotation}: ..."
    found = contracts([SourceCell("cell", "code", text, "solution", 0)])
    assert ("f" in found.objects) == may
