"""What a model computes: multiply-accumulates, and the bit operations they stand for.

FLOPs are 2 * MACs: `torch.utils.flop_counter` counts FLOPs, everything here is in MACs. Counted
are convolutions and products of matrices, those of attention among them; not counted are
additions, norms, activation functions, look-ups in tables, and `nn.Bilinear`.

Counted on `meta` whatever device the model is on: on a CPU, PyTorch 2.13 runs fused attention,
`nn.MultiheadAttention` and `nn.LSTM` in kernels that the counter knows nothing of and counts as 0.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Precision:
    """Bits of the two factors of a product."""

    weight: int
    activation: int  # both factors', where both are activations, as inside attention


@dataclass(frozen=True)
class Operations:
    """One call's multiply-accumulates, by the innermost module whose `forward` ran them."""

    by_module: Mapping[str, int]  # "": the model itself

    @property
    def macs(self) -> int:
        return sum(self.by_module.values())

    @property
    def flops(self) -> int:
        return 2 * self.macs

    def bops(self, precision: Callable[[str], Precision]) -> int:
        """Bit operations: the sum of MACs * weight bits * activation bits.

        Dong et al., HAWQ, 2019, arXiv:1905.03696, and Yao et al., HAWQ-V3, 2021, arXiv:2011.10680.

        Args:
            precision: of a module by its name: `lambda name: Precision(8, 8)`.
        """
        total = 0
        for name, macs in self.by_module.items():
            chosen = precision(name)
            total += macs * chosen.weight * chosen.activation
        return total


def operations(model: nn.Module, *inputs: Tensor, **named: Tensor) -> Operations:
    """Count one call in evaluation mode. Values of weights and inputs do not matter.

    Raises:
        NotImplementedError, RuntimeError: the model cannot run on `meta`, because what it does
            next depends on values.
    """
    shapes = _without_values(model).eval()
    counter = FlopCounterMode(display=False, custom_mapping=_VECTOR_PRODUCTS)
    calls = _Calls(counter)
    for name, module in shapes.named_modules():
        module.register_forward_pre_hook(calls.enter)
        module.register_forward_hook(calls.leave(name))
    with torch.no_grad(), counter:
        shapes(*(x.to("meta") for x in inputs), **{k: x.to("meta") for k, x in named.items()})
    return Operations({name: flops // 2 for name, flops in calls.own.items() if flops})


class _Calls:
    """Hands a counter's FLOPs to the innermost module, whoever called it."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter = counter
        self.own: dict[str, int] = {}
        self.within = [0]  # of each open call, what other modules did inside of it
        self.before: list[int] = []  # the count when each open call began

    def enter(self, *_: object) -> None:
        self.before.append(self.counter.get_total_flops())
        self.within.append(0)

    def leave(self, name: str) -> Callable[..., None]:
        def count(*_: object) -> None:
            spent = self.counter.get_total_flops() - self.before.pop()
            self.own[name] = self.own.get(name, 0) + spent - self.within.pop()
            self.within[-1] += spent

        return count


def _without_values(model: nn.Module) -> nn.Module:
    """A copy on `meta`, made without copying values; what layers share, they share again."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.to("meta"), requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(model, memo)


def _matrix_vector(matrix: Shape, vector: Shape, **_: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _biased_matrix_vector(bias: Shape, matrix: Shape, vector: Shape, **_: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _inner(left: Shape, right: Shape, **_: Any) -> int:
    return 2 * left[0]


_VECTOR_PRODUCTS = {  # FLOPs of what the counter has no formula for
    torch.ops.aten.mv: _matrix_vector,
    torch.ops.aten.addmv: _biased_matrix_vector,
    torch.ops.aten.dot: _inner,
}
