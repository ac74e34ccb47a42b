"""Accuracy and loss against the baseline, on data whose truth is known."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from autograder.accuracy import accuracy_kept, delta_nll, mcnemar
from autograder.records import Interval

CLASSES = 10


def _right(count: int, wrong: set[int]) -> torch.Tensor:
    return torch.tensor([index not in wrong for index in range(count)])


def test_kept_is_the_ratio_of_accuracies_in_percent() -> None:
    measured = accuracy_kept(
        _right(1000, set(range(100))), _right(1000, set(range(50, 190))), CLASSES
    )
    assert measured.value is not None
    assert measured.value.value == pytest.approx(100 * 860 / 900)
    assert measured.details["accuracy"] == 0.86


def test_equal_answers_have_no_interval() -> None:
    right = _right(500, {1, 2, 3})
    assert accuracy_kept(right, right, CLASSES).value == Interval(100.0, 100.0, 100.0)


def test_the_interval_is_paired() -> None:
    """Two models that fail on the same examples differ less than two that fail on others."""
    baseline = _right(1000, set(range(100)))
    same = accuracy_kept(baseline, _right(1000, set(range(105))), CLASSES).value
    other = accuracy_kept(baseline, _right(1000, set(range(500, 605))), CLASSES).value
    assert same is not None
    assert other is not None
    assert same.high - same.low < 0.4 * (other.high - other.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """95 % nominal; 200 trials give a standard error of 1.5 points, so 90 % is far outside."""
    draw, covered = np.random.default_rng(0), 0
    for _ in range(200):
        both = draw.random(2000)
        baseline, candidate = torch.tensor(both < 0.90), torch.tensor(both < 0.88)
        measured = accuracy_kept(baseline, candidate, CLASSES).value
        assert measured is not None
        covered += measured.low <= 100 * 0.88 / 0.90 <= measured.high
    assert covered >= 180


def test_what_is_kept_above_chance_and_the_drop_say_the_same_accuracy_otherwise() -> None:
    details = accuracy_kept(
        _right(1000, set(range(100))), _right(1000, set(range(190))), 10
    ).details
    assert details["drop_points"] == pytest.approx(9.0)
    assert details["kept_above_chance"] == pytest.approx(100 * (0.81 - 0.1) / (0.9 - 0.1))


def test_a_model_that_guesses_keeps_nothing_above_chance() -> None:
    guesses = _right(1000, set(range(900)))
    assert accuracy_kept(_right(1000, {1}), guesses, 10).details["kept_above_chance"] == 0


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (5, 0), (7, 12), (300, 340), (3000, 2800)])
def test_mcnemar_is_the_exact_binomial_test(lost: int, won: int) -> None:
    expected = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(expected, rel=1e-9)


def test_a_loss_that_rises_everywhere_alike_has_no_interval() -> None:
    losses = torch.rand(50, 16)
    measured = delta_nll(losses, losses + 0.25)
    assert measured.value is not None
    assert measured.value.value == pytest.approx(0.25, abs=1e-6)  # FP32 sums
    assert measured.value.high - measured.value.low < 1e-6
    assert measured.details["perplexity_ratio"] == pytest.approx(math.exp(0.25), rel=1e-5)


def test_intervals_of_the_loss_cover_the_truth_about_as_often_as_they_say() -> None:
    """95 % nominal; 200 trials give a standard error of 1.5 points, so 90 % is far outside."""
    covered = 0
    for seed in range(200):
        torch.manual_seed(seed)
        shared = torch.randn(80, 1)  # some windows are harder, for both models
        baseline, candidate = (3 + shared + 0.5 * torch.randn(80, 16) for _ in range(2))
        value = delta_nll(baseline, candidate + 0.1).value
        assert value is not None
        covered += value.low <= 0.1 <= value.high
    assert covered >= 180


def test_a_loss_without_bound_is_still_a_finite_record() -> None:
    assert delta_nll(torch.ones(9, 3), torch.full((9, 3), 1e4)).details["perplexity"] > 1e20
