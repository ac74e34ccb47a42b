"""Local search: go to a better neighbour while there is one, then start anew elsewhere.

Source    White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search", UAI
          2021, arXiv:2005.02960 (local search as a strong baseline).
Differs   Neighbours are tried in random order and the first better one is taken; the authors
          measure all and take the best.
Read      moves.py and evaluation.py first.
"""

import torch

from reference.pruning.search.evaluation import Evaluation, Evaluator
from reference.pruning.search.moves import neighbours, sampled


def local_search(evaluator: Evaluator, generator: torch.Generator) -> Evaluation:
    while evaluator.goes_on:
        here = evaluator(sampled(evaluator.space, generator))
        better: Evaluation | None = here
        while better is not None:
            here, better = better, _better(evaluator, better, generator)
    return evaluator.best()


def _better(
    evaluator: Evaluator, here: Evaluation, generator: torch.Generator
) -> Evaluation | None:
    around = neighbours(evaluator.space, here.candidate)
    for place in torch.randperm(len(around), generator=generator).tolist():
        if not evaluator.goes_on:
            return None
        found = evaluator(around[place])
        if found.search_score > here.search_score:
            return found
    return None
