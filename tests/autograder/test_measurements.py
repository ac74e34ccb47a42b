"""Accuracy and latency statistics on data whose truth is known. No clock is read here."""

import math

import numpy as np
import pytest
import torch

from autograder import latency
from autograder.accuracy import accuracy_kept
from autograder.latency import certificate, speedup
from autograder.records import Interval
from labkit.timing import Pair


def _processes(
    ratio: float, processes: int, seed: int, noise: float = 0.03, between: float = 0.01
) -> list[list[Pair]]:
    """Pairs around a true ratio: lognormal noise per call, and a shift of each process."""
    draw = np.random.default_rng(seed)
    runs = []
    for _ in range(processes):
        shift = math.exp(draw.normal(0, between))
        clocks = np.exp(draw.normal(0, noise, (latency.PAIRS_PER_PROCESS, 2)))
        runs.append(
            [Pair(20 * a * shift, 20 / ratio * b, 20 * a, 20 / ratio * b) for a, b in clocks]
        )
    return runs


def _right(count: int, wrong: set[int]) -> torch.Tensor:
    return torch.tensor([index not in wrong for index in range(count)])


def test_kept_is_the_ratio_of_accuracies_in_percent() -> None:
    measured = accuracy_kept(_right(1000, set(range(100))), _right(1000, set(range(50, 190))))
    assert measured.value is not None
    assert measured.value.value == pytest.approx(100 * 860 / 900)
    assert measured.details["accuracy"] == 0.86


def test_equal_answers_have_no_interval() -> None:
    right = _right(500, {1, 2, 3})
    assert accuracy_kept(right, right).value == Interval(100.0, 100.0, 100.0)


def test_the_interval_is_paired() -> None:
    """Two models that fail on the same examples differ less than two that fail on others."""
    baseline = _right(1000, set(range(100)))
    same = accuracy_kept(baseline, _right(1000, set(range(105)))).value
    other = accuracy_kept(baseline, _right(1000, set(range(500, 605)))).value
    assert same is not None
    assert other is not None
    assert same.high - same.low < 0.4 * (other.high - other.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """95 % nominal; 200 trials give a standard error of 1.5 points, so 90 % is far outside."""
    draw, covered = np.random.default_rng(0), 0
    for _ in range(200):
        both = draw.random(2000)
        baseline, candidate = torch.tensor(both < 0.90), torch.tensor(both < 0.88)
        measured = accuracy_kept(baseline, candidate).value
        assert measured is not None
        covered += measured.low <= 100 * 0.88 / 0.90 <= measured.high
    assert covered >= 180


def test_a_known_speedup_is_recovered() -> None:
    found = speedup(_processes(2.5, processes=10, seed=1))
    assert found.value == pytest.approx(2.5, rel=0.02)
    assert found.low < 2.5 < found.high


def test_speedup_intervals_cover_the_truth() -> None:
    """Nominally 95 %; with only five processes to redraw a bootstrap covers less, so 80 of 100."""
    covered = 0
    for seed in range(100):
        interval = speedup(_processes(1.5, 5, seed))
        covered += interval.low <= 1.5 <= interval.high
    assert covered >= 80


def test_a_single_disturbed_process_does_not_move_the_median() -> None:
    runs = _processes(2.0, processes=9, seed=3)
    disturbed = [[Pair(p.baseline_cpu_ms * 5, *_rest(p)) for p in runs[0]], *runs[1:]]
    assert speedup(disturbed).value == pytest.approx(speedup(runs).value, rel=0.03)


def test_the_certificate_of_a_noisy_machine_has_a_wider_guard_band() -> None:
    calm = certificate(_processes(1.0, 4, seed=0, noise=0.005, between=0.001))
    noisy = certificate(_processes(1.0, 4, seed=0, noise=0.2, between=0.1))
    assert calm.guard_band == latency.MIN_GUARD_BAND
    assert noisy.guard_band > calm.guard_band


def _rest(pair: Pair) -> tuple[float, float, float]:
    return pair.candidate_cpu_ms, pair.baseline_wall_ms, pair.candidate_wall_ms
