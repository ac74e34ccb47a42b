"""Regularised evolution: the best of a few becomes a parent, and the oldest dies.

    start     P random candidates
    cycle     S of them at random; of the best a mutated child joins, and the oldest leaves

By dying of age, and not of a low score, nothing survives on one lucky measurement: only what can be
inherited does. With a certain probability the child has two parents and is crossed before.

Source    Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019,
          arXiv:1802.01548, algorithm 1; crossover: Cai et al., "Once-for-All", ICLR 2020,
          arXiv:1908.09791 (evolution under a latency budget, with mutation and crossover).
Left out  Populations spread over workers.
Read      moves.py and evaluation.py first.
"""

from collections import deque
from dataclasses import dataclass

import torch

from reference.pruning.search.evaluation import Evaluation, Evaluator
from reference.pruning.search.moves import crossed, mutated, sampled


@dataclass(frozen=True)
class EvolutionConfig:
    population: int = 32
    tournament: int = 8
    mutation: float = 0.1  # of each choice; one at least changes
    crossover: float = 0.25

    def __post_init__(self) -> None:
        if not 1 <= self.tournament <= self.population:
            told = f"{self.tournament} of {self.population}"
            raise ValueError(f"a tournament needs at least 1 and at most all, got {told}")
        if not (0 <= self.mutation <= 1 and 0 <= self.crossover <= 1):
            told = f"{self.mutation} and {self.crossover}"
            raise ValueError(f"mutation and crossover must be within 0 and 1, got {told}")


def evolution(
    evaluator: Evaluator, generator: torch.Generator, config: EvolutionConfig = EvolutionConfig()
) -> Evaluation:
    space = evaluator.space
    population: deque[Evaluation] = deque(maxlen=config.population)  # the oldest falls out
    while evaluator.goes_on:
        if len(population) < config.population:
            child = sampled(space, generator)
        else:
            child = _winner(population, generator, config).candidate
            if torch.rand(1, generator=generator).item() < config.crossover:
                mate = _winner(population, generator, config).candidate
                child = crossed(space, child, mate, generator)
            child = mutated(space, child, generator, config.mutation)
        population.append(evaluator(child))
    return evaluator.best()


def _winner(
    population: deque[Evaluation], generator: torch.Generator, config: EvolutionConfig
) -> Evaluation:
    drawn = torch.randperm(len(population), generator=generator)[: config.tournament]
    return max((population[place] for place in drawn.tolist()), key=lambda each: each.search_score)
