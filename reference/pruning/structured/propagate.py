"""Following a network while it runs: every call of PyTorch is seen, and labels go along.

The network runs once, in eval mode, on an example. What Python does between the calls needs no
following, so that loops, conditions on settings and sizes computed on the way are no obstacle; a
symbolic trace stops at the first of them. A condition on values is: the other branch was not seen.

Source    `torch.overrides.TorchFunctionMode` (PyTorch 2.13), which shows every call, functional or
          by a module, by the name of the function.
Differs   Fang et al. 2023 walk the graph that autograd has recorded, where functions have lost
          their names and sizes their origin.
Read      propagate_layers.py, propagate_shapes.py and propagate_values.py have the rules, by name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from reference import walk
from reference.pruning.structured import propagate_layers, propagate_shapes, propagate_values
from reference.pruning.structured.propagate_follow import Call, Following, Rule, tensors_in

RULES: dict[str, Rule] = {
    **propagate_shapes.RULES,
    **propagate_values.RULES,
    **propagate_layers.RULES,
}
DECIDING = ("bool", "item", "tolist", "int", "float", "index", "numpy", "equal", "allclose")


def followed(model: nn.Module, example: walk.Batch) -> Following:
    """Run the model on an example; what it returns stays.

    Raises:
        ValueError: an operation without a rule meets channels that could be removed, or their
            values decide what happens next; it is named, with the module that it is in. An example
            that is empty.
    """
    if not all(each.numel() for each in tensors_in(example)):
        raise ValueError("channels are followed on an example; expected at least one, got none")
    following = Following(model)
    with (
        walk.evaluating(model),
        torch.no_grad(),
        torch.random.fork_rng(devices=[]),
        _places(model, following),
        _Mode(following),
    ):
        answer = walk.answer(model, example)
    for output in tensors_in(answer):
        following.units.keep(following.labels(output), "it is an output of the network")
    return following


class _Mode(TorchFunctionMode):
    def __init__(self, following: Following) -> None:
        super().__init__()
        self.following = following

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        name = _name(function)
        ahead = _asks(name, self.following, (args, named))  # what changes in place is asked before
        out = function(*args, **named)
        if name in ("shape", "size"):
            return propagate_shapes.measured(out)
        if not tensors_in(out) and name != "setitem":
            if ahead and name in DECIDING:
                self._refuse(f"{name}() of channels that could be removed decides what follows")
            return out
        rule = RULES.get(name)
        if rule is not None:
            self._label(rule, Call(function, args, named, out))
        elif ahead:
            self._refuse(f"there is no rule for {name}()")
        else:
            for each in tensors_in((args, named)):
                self.following.keep_own(each)
        return out

    def _label(self, rule: Rule, call: Call) -> None:
        labels = rule(self.following, call)
        if isinstance(call.out, Tensor):
            self.following.put(call.out, labels)
        else:
            for value, each in zip(call.out, labels, strict=True):
                self.following.put(value, each)

    def _refuse(self, what: str) -> None:
        raise ValueError(f"cannot follow channels through {self.following.where}: {what}")


def _asks(name: str, following: Following, arguments: object) -> bool:
    """Whether the answer depends on channels that could be removed, in a way that has no rule."""
    known = name in RULES and name not in DECIDING  # float() is of both kinds
    return not known and any(following.made_here(each) for each in tensors_in(arguments))


def _name(function: Any) -> str:
    """`add` for torch.add, Tensor.add_ and Tensor.__add__; `shape` for the attribute."""
    name = function.__name__
    if name == "__get__":
        name = function.__self__.__name__
    return str(name).strip("_")


@contextmanager
def _places(model: nn.Module, following: Following) -> Iterator[None]:
    """Keep `following.where` at the innermost module that is running."""
    open_modules: list[str] = []

    def enter(name: str, module: nn.Module) -> None:
        open_modules.append(
            f"{name!r} ({type(module).__name__})" if name else type(module).__name__
        )
        following.where = open_modules[-1]

    def leave() -> None:
        open_modules.pop()
        following.where = open_modules[-1] if open_modules else ""

    handles = []
    for name, module in model.named_modules():
        before = lambda module, _, name=name: enter(name, module)  # noqa: E731
        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(lambda *_: leave()))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
