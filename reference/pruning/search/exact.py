"""The optimum: by trying everything, or by dynamic programming where losses and costs add up.

    minimise sum_i loss_i(x_i)     under     sum_i cost_i(x_i) <= budget

Source    Dynamic programming: reference/quantization/mixed/exact.py, to which a choice is a layer
          and a place among its values a width; for layer-wise compression: Frantar and Alistarh,
          "SPDY", ICML 2022, arXiv:2201.13096.
Differs   SPDY rounds costs to a grid; here the sums themselves are the states.
Read      space.py first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reference.pruning.search.evaluation import Evaluation, Evaluator
from reference.pruning.search.space import MOST_ENUMERATED, Candidate, Space, Value
from reference.quantization.mixed.exact import dynamic_programming
from reference.quantization.mixed.options import Table

PerValue = Mapping[str, Mapping[Value, float]]  # by choice, then by value


@dataclass(frozen=True)
class AdditiveCost:
    """A candidate costs the sum of what its values cost."""

    costs: PerValue

    def __call__(self, candidate: Candidate) -> float:
        return sum(self.costs[name][value] for name, value in candidate.items())


@dataclass(frozen=True)
class Optimum:
    candidate: Candidate
    loss: float
    cost: float


def exhaustive(evaluator: Evaluator, limit: int = MOST_ENUMERATED) -> Evaluation:
    """Every candidate that fits.

    Raises:
        ValueError: the space is larger than `limit`, or than what may be evaluated.
    """
    for each in evaluator.space.fitting(limit):
        evaluator(each)
    return evaluator.best()


def additive_optimum(space: Space, losses: PerValue) -> Optimum:
    """The candidate with the least sum of losses.

    Raises:
        ValueError: the space has not one constraint with an additive cost, or a table lacks a
            value of a choice.
    """
    if len(space.constraints) != 1 or not isinstance(space.constraints[0].cost, AdditiveCost):
        raise ValueError("dynamic programming needs one constraint, with an AdditiveCost")
    constraint = space.constraints[0]
    columns = max(len(each.values) for each in space.choices)
    table = Table(
        space.names,
        tuple(range(columns)),
        rows(space, losses, columns, torch.inf),
        rows(space, constraint.cost.costs, columns, 0.0),
    )
    found = dynamic_programming(table, constraint.budget)
    return Optimum(space.at(list(found.bits.values())), found.loss, found.cost)


def rows(
    space: Space, table: PerValue, columns: int, padding: float
) -> Float[Tensor, "choices columns"]:
    """One row for each choice, its values in order, padded to equal length.

    Raises:
        ValueError: the table lacks a value of a choice.
    """
    found = torch.full((len(space.choices), columns), padding, dtype=torch.float64)
    for row, each in enumerate(space.choices):
        for column, value in enumerate(each.values):
            if value not in table.get(each.name, {}):
                raise ValueError(f"the table has no number for {each.name!r} = {value!r}")
            found[row, column] = table[each.name][value]
    return found
