"""The two controls: as many random candidates as others may evaluate, and every choice alike.

    random     the best of so many draws that fit
    uniform    the highest position p for which every choice's value round(p (n - 1)) fits

A strategy that does not beat both at an equal number of evaluations has found nothing.

Source    Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search", UAI
          2019, arXiv:1902.07638; uniform width: Howard et al., "MobileNets", 2017,
          arXiv:1704.04861, section 3.3 (one multiplier for all layers).
Read      evaluation.py first.
"""

from fractions import Fraction

import torch

from reference.pruning.search.evaluation import Evaluation, Evaluator
from reference.pruning.search.moves import sampled
from reference.pruning.search.space import Candidate, Space


def random_search(evaluator: Evaluator, generator: torch.Generator) -> Evaluation:
    while evaluator.goes_on:
        evaluator(sampled(evaluator.space, generator))
    return evaluator.best()


def uniform(evaluator: Evaluator) -> Evaluation:
    """One evaluation."""
    return evaluator(uniform_candidate(evaluator.space))


def uniform_candidate(space: Space) -> Candidate:
    """The largest that fits among those with every choice at the same height."""
    sizes = [len(each.values) - 1 for each in space.choices]
    turns = {Fraction(2 * k + 1, 2 * size) for size in sizes for k in range(size)}
    for height in sorted(turns, reverse=True):  # a rounded place changes at odd halves
        found = space.at([int(height * size + Fraction(1, 2)) for size in sizes])
        if space.fits(found):
            return found
    return space.smallest
