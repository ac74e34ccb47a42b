"""How much of the baseline's accuracy a model keeps, from its answers to hidden examples."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from autograder.records import Interval, Measurement

RESAMPLES = 4000


def accuracy_kept(baseline_right: Tensor, candidate_right: Tensor, seed: int = 0) -> Measurement:
    """Candidate accuracy as a percentage of baseline accuracy, with a paired interval.

    Paired, because the two answer the same examples: what they share is not noise. The bootstrap
    redraws the four cells of the table (both right, one of the two, neither), which is all that
    the ratio depends on.

    Args:
        baseline_right: bool, (count,).
        candidate_right: bool, (count,), of the same examples in the same order.
    """
    count = len(baseline_right)
    both = (baseline_right & candidate_right).sum().item()
    only_baseline = (baseline_right & ~candidate_right).sum().item()
    only_candidate = (~baseline_right & candidate_right).sum().item()
    cells = np.array([both, only_baseline, only_candidate])
    shares = np.append(cells, count - cells.sum()) / count
    draws = _kept(np.random.default_rng(seed).multinomial(count, shares, size=RESAMPLES))
    low, high = np.percentile(draws, [2.5, 97.5])
    value = float(_kept(cells))
    return Measurement(
        metric="accuracy_kept",
        value=Interval(value, min(value, float(low)), max(value, float(high))),
        details={
            "baseline_accuracy": (both + only_baseline) / count,
            "accuracy": (both + only_candidate) / count,
            "count": count,
        },
    )


def _kept(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Percent kept, one per table in the last axis; a baseline never right counts as once."""
    both, only_baseline, only_candidate = (cells[..., cell] for cell in range(3))
    return np.asarray(100 * (both + only_candidate) / np.maximum(both + only_baseline, 1))
