"""What a distiller reads: the answers of a model, and what its layers said on the way.

A tap is the name of a module whose output is kept. Hooks live as long as one forward pass, so that
a model that was watched is the model it was.

Differs   Some libraries ask models to return a dictionary; here any model is watched from outside.
Read      loop.py trains with these.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

IGNORED = -100  # the label of a position that is not learnt, as in torch.nn.CrossEntropyLoss
Inputs = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Batch:
    inputs: Inputs  # a tensor, or the keyword arguments of a Hugging Face model
    labels: Tensor  # integers of shape (rows,), or (rows, positions) with IGNORED at padding


@dataclass(frozen=True)
class Outputs:
    logits: Tensor  # (rows, classes), (rows, positions, vocabulary); a committee puts itself first
    features: Mapping[str, Tensor] = field(default_factory=dict)  # by tap


def observe(model: nn.Module, inputs: Inputs, taps: Sequence[str] = ()) -> Outputs:
    """Run a model once, in the mode it is in.

    Raises:
        ValueError: a tap names no module, was not reached, or gave no tensor; or the model gives
            neither a tensor nor something with `logits`.
    """
    with _tapped(model, taps) as features:
        answer = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    missing = [tap for tap in taps if tap not in features]
    if missing:
        raise ValueError(f"{missing[0]!r} was not reached while {type(model).__name__} ran")
    return Outputs(_logits(answer, model), features)


@torch.no_grad()
def taught(teacher: nn.Module, inputs: Inputs, taps: Sequence[str] = ()) -> Outputs:
    """What a teacher says: in eval mode, without a graph, and left in its own mode.

    Raises:
        ValueError: as `observe`.
    """
    modes = {module: module.training for module in teacher.modules()}
    teacher.eval()
    try:
        return observe(teacher, inputs, taps)
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _tapped(model: nn.Module, taps: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    modules = dict(model.named_modules())
    found: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> None:
        first = output[0] if isinstance(output, tuple) else output
        if not isinstance(first, Tensor):
            raise ValueError(f"{name!r} gives {type(first).__name__}; a tap needs a tensor")
        found[name] = first

    for tap in taps:
        if tap not in modules:
            raise ValueError(f"there is no module {tap!r} in {type(model).__name__}")
    handles = [
        modules[tap].register_forward_hook(lambda _, __, output, tap=tap: keep(tap, output))
        for tap in taps
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _logits(answer: object, model: nn.Module) -> Tensor:
    logits = getattr(answer, "logits", answer)
    if not isinstance(logits, Tensor):
        raise ValueError(f"{type(model).__name__} gives {type(answer).__name__}, without logits")
    return logits
