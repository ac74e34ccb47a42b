"""Which allocations are worth showing: those that no other beats in loss and cost.

Source    Pareto 1906; Cai et al., "ZeroQ", CVPR 2020, arXiv:2001.00281, section 3.2 (sensitivity
          against size).
Read      options.py, exact.py first.
"""

from collections.abc import Callable, Sequence

from reference import pareto
from reference.quantization.mixed.exact import dynamic_programming
from reference.quantization.mixed.options import Allocation, Table


def non_dominated(found: Sequence[Allocation]) -> list[Allocation]:
    """By rising cost and falling loss; of equals, the first."""
    return pareto.non_dominated(found, lambda each: (each.cost, each.loss))


def front(
    table: Table,
    budgets: Sequence[float],
    allocate: Callable[[Table, float], Allocation] = dynamic_programming,
) -> list[Allocation]:
    """The undominated allocations among those for each budget.

    Raises:
        ValueError: there is no budget, or one that nothing fits.
    """
    if not budgets:
        raise ValueError("a front needs at least one budget")
    return non_dominated([allocate(table, budget) for budget in budgets])
