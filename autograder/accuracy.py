"""How much of the baseline's quality a model keeps, from its answers to hidden examples.

All intervals are paired: the two models answer the same examples, so what they share is not noise.
"""

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from autograder.records import Interval, Measurement

RESAMPLES = 4000


def accuracy_kept(
    baseline_right: Tensor, candidate_right: Tensor, classes: int, seed: int = 0
) -> Measurement:
    """Candidate accuracy as a percentage of baseline accuracy, with a paired interval.

    The bootstrap redraws the four cells of the table (both right, one of the two, neither), which
    is all that the ratio depends on.

    Args:
        baseline_right: bool, (count,).
        candidate_right: bool, (count,), of the same examples in the same order.
        classes: among which a guess is right once.
    """
    count = len(baseline_right)
    both = (baseline_right & candidate_right).sum().item()
    lost = (baseline_right & ~candidate_right).sum().item()
    won = (~baseline_right & candidate_right).sum().item()
    cells = np.array([both, lost, won])
    shares = np.append(cells, count - cells.sum()) / count
    draws = _kept(np.random.default_rng(seed).multinomial(count, shares, size=RESAMPLES))
    value = float(_kept(cells))
    baseline, candidate = (both + lost) / count, (both + won) / count
    details: dict[str, float | int | str] = {
        "baseline_accuracy": baseline,
        "accuracy": candidate,
        "drop_points": 100 * (baseline - candidate),
        "kept_above_chance": 100 * _above_chance(baseline, candidate, classes),
        "lost_examples": int(lost),
        "won_examples": int(won),
        "mcnemar_p": mcnemar(int(lost), int(won)),
        "count": count,
    }
    return Measurement("accuracy_kept", _around(value, draws), details=details)


def delta_nll(baseline: Tensor, candidate: Tensor, seed: int = 0) -> Measurement:
    """How many nats per token the candidate loses against the baseline; 0 is as good.

    The bootstrap redraws windows, because the tokens of one window are not independent.

    Args:
        baseline: nats of every predicted token, (windows, predicted).
        candidate: the same of the same windows.
    """
    ours, theirs = (part.double().mean(dim=1).numpy() for part in (baseline, candidate))
    difference = theirs - ours
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(difference), size=(RESAMPLES, len(difference)))
    details: dict[str, float | int | str] = {
        "baseline_perplexity": math.exp(ours.mean()),
        "perplexity": math.exp(min(theirs.mean(), 50.0)),  # e**50 is beyond any vocabulary
        "perplexity_ratio": math.exp(min(difference.mean(), 50.0)),
        "context": baseline.shape[1] + 1,
        "stride": baseline.shape[1] + 1,
        "count": len(difference),
    }
    interval = _around(float(difference.mean()), difference[drawn].mean(axis=1))
    return Measurement("delta_nll", interval, details=details)


def mcnemar(lost: int, won: int) -> float:
    """How probable so uneven a split is if neither model is better: exact, two-sided.

    Source: McNemar 1947; of the examples on which they differ, each is a fair coin.
    """
    differing, fewer = lost + won, min(lost, won)
    # Through logarithms: 2**-n is zero as a float for a thousand differing examples.
    logs = [
        math.lgamma(differing + 1) - math.lgamma(k + 1) - math.lgamma(differing - k + 1)
        for k in range(fewer + 1)
    ]
    tail = sum(math.exp(log - differing * math.log(2)) for log in logs)
    return min(1.0, 2 * tail)


def _around(value: float, draws: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def _above_chance(baseline: float, candidate: float, classes: int) -> float:
    """Of what the baseline knows beyond a guess, the share that the candidate knows."""
    chance = 1 / classes
    return (candidate - chance) / max(baseline - chance, chance / 100)


def _kept(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Percent kept, one per table in the last axis; a baseline never right counts as once."""
    both, lost, won = (cells[..., cell] for cell in range(3))
    return np.asarray(100 * (both + won) / np.maximum(both + lost, 1))
