"""Known landscapes to search: every score is computed, so that the optimum can be enumerated."""

import itertools
from functools import partial

import torch

from reference.pruning.search.amc import amc
from reference.pruning.search.evaluation import Evaluator
from reference.pruning.search.evolution import EvolutionConfig, evolution
from reference.pruning.search.exact import AdditiveCost
from reference.pruning.search.local_search import local_search
from reference.pruning.search.netadapt import netadapt
from reference.pruning.search.random_search import random_search, uniform
from reference.pruning.search.space import Candidate, Choice, Constraint, Space
from reference.pruning.search.tpe import tpe

SMALL = EvolutionConfig(population=10, tournament=4)
STRATEGIES = {
    "random": random_search,
    "uniform": lambda evaluator, generator: uniform(evaluator),
    "local search": local_search,
    "evolution": partial(evolution, config=SMALL),
    "netadapt": netadapt,
    "amc": amc,
    "tpe": tpe,
}


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Landscape:
    """Gains that rise along each choice, pairs of neighbours that help or harm each other, and a
    budget midway between the smallest and the largest candidate's cost."""

    def __init__(self, seed: int, choices: int = 5, values: int = 4, pairs: float = 0.3) -> None:
        numbers = drawn(seed)
        shape = (choices, values)
        gain = torch.rand(shape, generator=numbers, dtype=torch.float64).cumsum(1)
        pair = pairs * torch.randn(choices - 1, values, values, generator=numbers).double()
        self.gain, self.pair = gain.tolist(), pair.tolist()
        cost = torch.randint(1, 10, shape, generator=numbers).double().cumsum(1)
        names = [f"layer{row}" for row in range(choices)]
        widths = tuple(8 * (place + 1) for place in range(values))
        self.costs = {
            name: dict(zip(widths, row, strict=True))
            for name, row in zip(names, cost.tolist(), strict=True)
        }
        budget = float((cost[:, 0].sum() + cost[:, -1].sum()) / 2)
        limit = Constraint("cost", AdditiveCost(self.costs), budget)
        self.space = Space(tuple(Choice(name, widths) for name in names), (limit,))

    def score(self, candidate: Candidate) -> float:
        places = self.space.places(candidate)
        single = sum(self.gain[row][place] for row, place in enumerate(places))
        pairs = enumerate(itertools.pairwise(places))
        joint = sum(self.pair[row][left][right] for row, (left, right) in pairs)
        return single + joint

    def losses(self) -> dict:
        """Minus the gains, as tables: the landscape without its pairs."""
        return {
            name: dict(zip(self.costs[name], (-gain for gain in self.gain[row]), strict=True))
            for row, name in enumerate(self.costs)
        }

    def evaluator(self, evaluations: int, patience: int = 200) -> Evaluator:
        return Evaluator(self.space, self.score, evaluations, patience)

    def optimum(self) -> float:
        return max(self.score(each) for each in self.space.fitting())
