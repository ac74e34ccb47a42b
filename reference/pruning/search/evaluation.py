"""Measuring candidates: each once, so many in all, and the test set after the search.

    evaluations    distinct candidates measured; a repeated one is remembered and costs nothing
    search score   what strategies see: a measurement on data held back from training
    final test     asked once, about the chosen candidate, when the search can no longer go on

A strategy is a function of an evaluator. The final test is no part of it and answers only about an
evaluator that was closed, which refuses every further evaluation: what the test says cannot come
back into the search.

Source    Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search", UAI
          2019, arXiv:1902.07638 (equal budgets); Lindauer and Hutter, "Best Practices for
          Scientific Research on Neural Architecture Search", JMLR 2020, arXiv:1909.02453.
Left out  Measurements that come back noisy or late; budgets in seconds.
Read      space.py first.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from reference.pruning.search.space import Candidate, Space

Score = Callable[[Candidate], float]  # higher is better


@dataclass(frozen=True)
class Evaluation:
    candidate: Candidate
    search_score: float


class Evaluator:
    """Scores candidates of a space, so many and no more. Those over a budget may be scored, as
    stages on the way, but never chosen.

    Raises:
        ValueError: fewer than one evaluation, or no patience.
    """

    def __init__(self, space: Space, score: Score, evaluations: int, patience: int = 200) -> None:
        if evaluations < 1 or patience < 1:
            raise ValueError(f"{evaluations} evaluations and patience {patience}: need 1 or more")
        self.space = space
        self.evaluations = evaluations
        self._score = score
        self._patience = patience
        self._repeats = 0
        self._closed = False
        self._known: dict[Candidate, Evaluation] = {}

    def __call__(self, candidate: Candidate) -> Evaluation:
        """
        Raises:
            ValueError: a candidate from elsewhere, nothing left to spend, a closed search, or a
                score that is not finite.
        """
        if candidate in self._known:
            self._repeats += 1
            return self._known[candidate]
        self.space.places(candidate)
        if self._closed:
            raise ValueError("the search is closed: no further candidate is evaluated")
        if not self.remaining:
            raise ValueError(f"all {self.evaluations} evaluations are spent")
        score = self._score(candidate)
        if not math.isfinite(score):
            raise ValueError(f"the score of {candidate} must be finite, got {score}")
        self._repeats = 0
        self._known[candidate] = Evaluation(candidate, score)
        return self._known[candidate]

    @property
    def history(self) -> tuple[Evaluation, ...]:
        """In the order in which they were measured."""
        return tuple(self._known.values())

    @property
    def remaining(self) -> int:
        return self.evaluations - len(self._known)

    @property
    def goes_on(self) -> bool:
        """There is something left to spend, and not only repetitions for a long while."""
        return not self._closed and self.remaining > 0 and self._repeats < self._patience

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End the search for good."""
        self._closed = True

    def best(self) -> Evaluation:
        """The highest score among those that fit; of equals, the first.

        Raises:
            ValueError: none that was measured fits.
        """
        fitting = [each for each in self.history if self.space.fits(each.candidate)]
        if not fitting:
            raise ValueError(f"none of {len(self.history)} measured candidates fits the budget")
        return max(fitting, key=lambda each: each.search_score)


Strategy = Callable[[Evaluator], Evaluation]


class FinalTest:
    """The only holder of the test measurement; it answers once."""

    def __init__(self, measure: Score) -> None:
        self._measure = measure
        self._asked = False

    def ask(self, evaluator: Evaluator, chosen: Evaluation) -> float:
        """
        Raises:
            ValueError: the search is still open, the test was asked before, or the chosen candidate
                was not measured there or does not fit.
        """
        if not evaluator.closed:
            raise ValueError("the search is still open: close it before the final test")
        if self._asked:
            raise ValueError("the final test was asked before: a second answer could be chosen by")
        if chosen not in evaluator.history or not evaluator.space.fits(chosen.candidate):
            raise ValueError(f"{chosen.candidate} was not measured in this search, or is too dear")
        self._asked = True
        return self._measure(chosen.candidate)


@dataclass(frozen=True)
class Outcome:
    chosen: Evaluation
    final: float  # on the test set
    history: tuple[Evaluation, ...]


def searched(strategy: Strategy, evaluator: Evaluator, final: FinalTest) -> Outcome:
    """Search, close, and ask the final test about what was chosen; errors as theirs."""
    chosen = strategy(evaluator)
    evaluator.close()
    return Outcome(chosen, final.ask(evaluator, chosen), evaluator.history)


@dataclass(frozen=True)
class Splits:
    """Places in a data set, in three parts that share none."""

    train: Int[Tensor, " train"]  # weights, and batch-norm statistics
    search: Int[Tensor, " search"]  # scores that strategies see
    test: Int[Tensor, " test"]  # the final test alone


def split(size: int, search: int, test: int, seed: int) -> Splits:
    """All places of a data set, shuffled and dealt out.

    Raises:
        ValueError: a part would be empty.
    """
    train = size - search - test
    if min(train, search, test) < 1:
        raise ValueError(f"{size} examples in parts of {train}, {search} and {test}: none is empty")
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    return Splits(*order.split([train, search, test]))
