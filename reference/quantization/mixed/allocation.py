"""Choosing widths by rules of thumb: fast, good, and without a promise.

    greedy        from the best width of each layer, lower the one that loses least per cost saved
    Lagrangian    minimise loss + lambda cost, layer by layer; the smallest lambda that fits
    uniform       the same width everywhere                                     a control
    random        the best of so many draws that fit                            a control

The Lagrangian finds only allocations on the lower convex hull: the best for what they cost, with
gaps between them.

Source    Everett, "Generalized Lagrange Multiplier Method", Operations Research 1963; Shoham and
          Gersho, "Efficient Bit Allocation for an Arbitrary Set of Quantizers", IEEE TASSP 1988.
Left out  Reinforcement learning (HAQ) and evolution, which search the same space with more runs.
Read      options.py first; exact.py has the optimum.
"""

import torch
from torch import Tensor

from reference.quantization.mixed.options import Allocation, Table

BISECTIONS = 100  # lambda to the last bit of a float64, from any start


def greedy(table: Table, budget: float) -> Allocation:
    """
    Raises:
        ValueError: not even the cheapest widths fit.
    """
    table.check_budget(budget)
    columns = _best(table, 0.0)
    while not table.fits(table.allocation(columns).cost, budget):
        row, column = _cheapest_step(table, columns)
        columns[row] = column
    return table.allocation(columns)


def lagrangian(table: Table, budget: float) -> Allocation:
    """
    Raises:
        ValueError: not even the cheapest widths fit.
    """
    table.check_budget(budget)
    best = table.allocation(_best(table, 0.0))
    if table.fits(best.cost, budget):
        return best
    low, high = 0.0, 1.0
    while not table.fits(table.allocation(_best(table, high)).cost, budget) and high < 1e300:
        low, high = high, high * 4
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if not table.fits(table.allocation(_best(table, middle)).cost, budget):
            low = middle
        else:
            high = middle
    return table.allocation(_best(table, high))


def uniform(table: Table, budget: float) -> Allocation:
    """The same width for all layers that are free to choose, the one that loses least.

    Raises:
        ValueError: no width fits.
    """
    table.check_budget(budget)
    free = torch.isfinite(table.loss).sum(1) > 1
    only = table.loss.argmin(1)
    found = [
        table.allocation(torch.where(free, column, only).tolist())
        for column in range(len(table.bits))
    ]
    fitting = [each for each in found if table.fits(each.cost, budget)]
    if not fitting:
        raise ValueError(f"no width fits {budget:g} when all layers share it")
    return min(fitting, key=lambda each: (each.loss, each.cost))


def random_search(
    table: Table, budget: float, generator: torch.Generator, draws: int = 1000
) -> Allocation:
    """The best of so many random allocations that fit, and of the cheapest one.

    Raises:
        ValueError: not even the cheapest widths fit, or there are no draws.
    """
    table.check_budget(budget)
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    possible = torch.isfinite(table.loss)
    drawn = torch.multinomial(possible.double(), draws, replacement=True, generator=generator)
    cheapest = torch.where(possible, table.cost, torch.inf).argmin(1)
    columns = torch.cat((cheapest.unsqueeze(1), drawn), dim=1)
    cost, loss = table.cost.gather(1, columns).sum(0), table.loss.gather(1, columns).sum(0)
    loss[1:] = torch.where(cost[1:] <= budget, loss[1:], torch.inf)  # the cheapest does fit
    return table.allocation(columns[:, loss.argmin()].tolist())


def _best(table: Table, price: float) -> list[int]:
    """The column of each layer with the least loss + price * cost; the cheaper one of equals."""
    total = table.loss + price * table.cost
    tied = total <= total.amin(1, keepdim=True)
    return torch.where(tied, table.cost, torch.inf).argmin(1).tolist()


def _cheapest_step(table: Table, columns: list[int]) -> tuple[int, int]:
    """The layer and width that lose least for each unit of cost they save."""
    rows = torch.arange(len(columns))
    loss, cost = (part[rows, columns].unsqueeze(1) for part in (table.loss, table.cost))
    saved = cost - table.cost
    rate: Tensor = torch.where(saved > 0, (table.loss - loss) / saved, torch.inf)
    row, column = divmod(int(rate.argmin()), len(table.bits))
    return row, column
