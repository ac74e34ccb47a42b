"""Choosing widths optimally: by dynamic programming, or by handing the sums to a solver.

    after layer l    all (cost, loss) that no other beats in both, of layers 1 ... l
    next layer       each of them with each width; drop what is over budget or beaten

No rounding of costs is needed: states are the sums themselves. Their number grows with the layers
but not beyond the distinct costs, which for bytes are few. The solver takes the same problem as

    minimise sum loss x     sum_b x[l, b] = 1     sum cost x <= budget     x in {0, 1}

Source    Bellman 1957; Nemhauser and Ullmann, "Discrete Dynamic Programming and Capital
          Allocation", Management Science 1969 (lists of undominated sums); Yao et al., HAWQ-V3,
          ICML 2021, arXiv:2011.10680, section 3.3 (the integer program). The solver is HiGHS, by
          scipy.optimize.milp.
Left out  Approximation schemes.
Read      options.py first.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from reference.quantization.mixed.options import ROUNDING, Allocation, Table


class _States(NamedTuple):
    """The sums that nothing beats, by rising cost, and how each was reached."""

    cost: Tensor
    loss: Tensor
    parent: Tensor  # its place among the states of the layers before
    column: Tensor  # the width that was added


def dynamic_programming(table: Table, budget: float) -> Allocation:
    """
    Raises:
        ValueError: not even the cheapest widths fit.
    """
    table.check_budget(budget)
    nothing = torch.zeros(1, dtype=torch.float64)
    history = [_States(nothing, nothing, torch.zeros(1).long(), torch.zeros(1).long())]
    for row in range(len(table.names)):
        history.append(_extended(history[-1], table, row, budget))
    place = len(history[-1].cost) - 1  # the costliest of the undominated loses least
    columns = []
    for states in reversed(history[1:]):
        columns.append(int(states.column[place]))
        place = int(states.parent[place])
    return table.allocation(columns[::-1])


def integer_program(table: Table, budget: float) -> Allocation:
    """
    Raises:
        ValueError: not even the cheapest widths fit, or the solver found no optimum.
    """
    table.check_budget(budget)
    layers, widths = table.loss.shape
    possible = torch.isfinite(table.loss).double().flatten().numpy()
    loss = torch.where(torch.isfinite(table.loss), table.loss, 0.0).double().flatten().numpy()
    one_each = np.kron(np.eye(layers), np.ones(widths))
    costs = table.cost.double().flatten().numpy()
    found = milp(
        loss / max(np.abs(loss).max(), 1e-300),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(costs / max(budget, 1e-300), -np.inf, 1),
        ],
        integrality=np.ones_like(loss),
        bounds=Bounds(0, possible),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise ValueError(f"the solver found no allocation: {found.message}")
    return table.allocation(found.x.reshape(layers, widths).argmax(1).tolist())


def _extended(states: _States, table: Table, row: int, budget: float) -> _States:
    columns = torch.isfinite(table.loss[row]).nonzero().flatten()
    cost = (states.cost.unsqueeze(1) + table.cost[row, columns].double()).flatten()
    loss = (states.loss.unsqueeze(1) + table.loss[row, columns].double()).flatten()
    parent = torch.arange(len(states.cost)).repeat_interleave(len(columns))
    column = columns.repeat(len(states.cost))
    rest = _least_costs(table, row + 1)
    order = np.lexsort((loss.numpy(), cost.numpy()))
    room = budget * (1 + ROUNDING) - rest
    order = torch.from_numpy(order[cost.numpy()[order] <= room])
    lowest = loss[order].cummin(0).values
    better = torch.cat((torch.ones(1, dtype=torch.bool), lowest[1:] < lowest[:-1]))
    kept = order[better]
    return _States(cost[kept], loss[kept], parent[kept], column[kept])


def _least_costs(table: Table, row: int) -> float:
    """What the layers from `row` on cost at least: a state must leave room for them."""
    possible = torch.where(torch.isfinite(table.loss), table.cost, torch.inf)
    return possible[row:].amin(1).sum().item()
