"""What there is to choose from: each layer in each width, its loss and its cost.

    for each layer l choose b_l:    minimise sum loss[l, b_l]    under sum cost[l, b_l] <= budget

Losses come from sensitivity.py or curvature.py, costs from budgets.py, choices from allocation.py
and exact.py. That losses of layers add up is the assumption behind all of it.

Source    Wang et al., "HAQ", CVPR 2019, arXiv:1811.08886 (budgets); Yao et al., "HAWQ-V3", ICML
          2021, arXiv:2011.10680, section 3.3 (the sum under a budget).
Left out  Widths of activations chosen apart from those of weights.
Read      This file first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.quantization.packed_weight import PackedWeight, WeightOnlyConfig, unpack_weight
from reference.quantization.weight_only import KINDS, packed_weights


class Option(NamedTuple):
    """One layer in one width."""

    bits: int
    weight: Tensor  # dequantized, in the layer's shape and dtype
    packed: PackedWeight


ROUNDING = 1e-12  # of a float64 sum of up to a few thousand terms
Options = dict[str, tuple[Option, ...]]  # of each layer, by name


@dataclass(frozen=True)
class Table:
    """Losses and costs of every layer in every width it may have.

    A layer whose width is fixed has infinite loss in all others.
    """

    names: tuple[str, ...]
    bits: tuple[int, ...]  # of the columns
    loss: Float[Tensor, "layers widths"]
    cost: Float[Tensor, "layers widths"]  # bytes, bit operations or seconds

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.bits))
        if 0 in shape or self.loss.shape != shape or self.cost.shape != shape:
            raise ValueError(
                f"{shape[0]} layers and {shape[1]} widths, losses {tuple(self.loss.shape)}, "
                f"costs {tuple(self.cost.shape)}"
            )
        if torch.isnan(self.loss).any() or not torch.isfinite(self.loss).any(1).all():
            raise ValueError("a loss is nan, or a layer has no width with a finite loss")
        if not torch.isfinite(self.cost).all() or (self.cost < 0).any():
            raise ValueError(f"costs must be finite and not negative, got {self.cost.min():g}")

    def fixed(self, name: str, bits: int) -> "Table":
        """The same with one layer's width decided, as for a first or last layer.

        Raises:
            ValueError: there is no such layer or width.
        """
        if name not in self.names or bits not in self.bits:
            raise ValueError(f"no layer {name!r} in {bits} bits among {self.names}, {self.bits}")
        loss = self.loss.clone()
        row, column = self.names.index(name), self.bits.index(bits)
        loss[row] = torch.inf
        loss[row, column] = self.loss[row, column]
        return replace(self, loss=loss)

    def allocation(self, columns: Sequence[int]) -> "Allocation":
        rows = range(len(self.names))
        chosen = [(row, column) for row, column in zip(rows, columns, strict=True)]
        return Allocation(
            {self.names[row]: self.bits[column] for row, column in chosen},
            sum(self.loss[each].item() for each in chosen),
            sum(self.cost[each].item() for each in chosen),
        )

    def least_cost(self) -> float:
        return torch.where(torch.isfinite(self.loss), self.cost, torch.inf).amin(1).sum().item()

    @staticmethod
    def fits(cost: float, budget: float) -> bool:
        """The order of a sum of seconds may decide its last digits; bytes are exact."""
        return cost <= budget + ROUNDING * abs(budget)

    def check_budget(self, budget: float) -> None:
        """
        Raises:
            ValueError: not even the cheapest widths fit.
        """
        if not self.fits(self.least_cost(), budget):
            least = self.least_cost()
            raise ValueError(f"a budget of {budget:g}; the cheapest widths cost {least:g}")


class Allocation(NamedTuple):
    bits: dict[str, int]
    loss: float
    cost: float


def layer_options(
    model: nn.Module,
    bits: Sequence[int],
    config: WeightOnlyConfig = WeightOnlyConfig(),
    kinds: tuple[type[nn.Module], ...] = KINDS,
) -> Options:
    """Every layer of these kinds, rounded to nearest in each width.

    Raises:
        ValueError: no width, no layer, or a layer that cannot be rounded, which is named.
    """
    if not bits:
        raise ValueError("there is no width to choose from")
    widths = [(b, packed_weights(model, replace(config, bits=b), kinds)) for b in bits]
    return {
        name: tuple(_option(b, found[name], model.get_submodule(name)) for b, found in widths)
        for name in widths[0][1]
    }


def _option(bits: int, packed: PackedWeight, layer: nn.Module) -> Option:
    like = layer.weight
    return Option(bits, unpack_weight(packed).reshape(like.shape).to(like.dtype), packed)
