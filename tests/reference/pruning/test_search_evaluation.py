"""Claims about what a search may spend and see."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from search_landscapes import Landscape, drawn

from reference.pruning.search.evaluation import (
    Evaluation,
    Evaluator,
    FinalTest,
    searched,
    split,
)
from reference.pruning.search.random_search import random_search
from reference.pruning.search.space import Candidate, Choice, Constraint, Space

SPACE = Space(
    (Choice("width", (1, 2, 3)),),
    (Constraint("width", lambda each: float(each["width"]), 2.0),),
)


def width(candidate: Candidate) -> float:
    return float(candidate["width"])


def at(size: int) -> Candidate:
    return Candidate({"width": size})


def test_a_repeated_candidate_is_measured_once_and_costs_nothing():
    asked = []

    def score(candidate):
        asked.append(candidate)
        return width(candidate)

    evaluator = Evaluator(SPACE, score, 2)
    assert evaluator(at(1)) is evaluator(at(1))
    assert (len(asked), evaluator.remaining) == (1, 1)


def test_what_is_spent_is_spent_but_known_scores_stay_known():
    evaluator = Evaluator(SPACE, width, 1)
    evaluator(at(1))
    assert not evaluator.goes_on
    assert evaluator(at(1)).search_score == 1.0
    with pytest.raises(ValueError, match="all 1 evaluations are spent"):
        evaluator(at(2))


def test_what_does_not_fit_may_be_measured_and_is_never_best():
    evaluator = Evaluator(SPACE, width, 3)
    evaluator(at(3))
    with pytest.raises(ValueError, match="none of 1 measured candidates fits"):
        evaluator.best()
    evaluator(at(1))
    evaluator(at(2))
    assert evaluator.best() == Evaluation(at(2), 2.0)


def test_of_equal_scores_the_first_is_best():
    evaluator = Evaluator(SPACE, lambda _: 1.0, 2)
    evaluator(at(2))
    evaluator(at(1))
    assert evaluator.best().candidate == at(2)


def test_a_search_that_only_repeats_itself_ends():
    evaluator = Evaluator(SPACE, width, 100, patience=7)
    for _ in range(8):
        assert evaluator.goes_on
        evaluator(at(1))
    assert not evaluator.goes_on


def test_the_final_test_is_asked_once_about_the_chosen_and_after_the_search():
    asked = []
    evaluator = Landscape(0).evaluator(20)

    def test_accuracy(candidate):
        asked.append((candidate, evaluator.closed))
        return 0.5

    strategy = partial(random_search, generator=drawn(0))
    outcome = searched(strategy, evaluator, FinalTest(test_accuracy))
    assert asked == [(outcome.chosen.candidate, True)]
    assert outcome.final == 0.5
    assert outcome.chosen == max(outcome.history, key=lambda each: each.search_score)
    assert len(outcome.history) == 20


def test_a_strategy_that_asks_the_final_test_is_refused():
    final = FinalTest(width)

    def leaking(evaluator):
        found = evaluator(at(1))
        final.ask(evaluator, found)
        return found

    with pytest.raises(ValueError, match="the search is still open"):
        searched(leaking, Evaluator(SPACE, width, 3), final)


def test_a_score_that_asks_the_final_test_is_refused():
    final = FinalTest(width)

    def leaking(candidate):
        return final.ask(evaluator, Evaluation(candidate, 0.0))

    evaluator = Evaluator(SPACE, leaking, 3)
    with pytest.raises(ValueError, match="the search is still open"):
        evaluator(at(1))


def test_closing_to_ask_ends_the_search_and_uses_the_answer_up():
    final = FinalTest(width)

    def cheating(evaluator):
        first = evaluator(at(1))
        evaluator.close()
        assert final.ask(evaluator, first) == 1.0
        with pytest.raises(ValueError, match="the search is closed"):
            evaluator(at(2))
        return first

    with pytest.raises(ValueError, match="asked before"):
        searched(cheating, Evaluator(SPACE, width, 3), final)


@pytest.mark.parametrize(
    "chosen", [Evaluation(at(1), 9.0), Evaluation(at(2), 2.0), Evaluation(at(3), 3.0)]
)
def test_only_a_measured_candidate_that_fits_reaches_the_test(chosen):
    evaluator = Evaluator(SPACE, width, 3)
    evaluator(at(1))
    evaluator(at(3))
    with pytest.raises(ValueError, match="was not measured in this search, or is too dear"):
        searched(lambda _: chosen, evaluator, FinalTest(width))


@given(st.integers(3, 300), st.data(), st.integers(0, 99))
def test_splits_share_nothing_and_miss_nothing(size, data, seed):
    search = data.draw(st.integers(1, size - 2))
    test = data.draw(st.integers(1, size - search - 1))
    parts = split(size, search, test, seed)
    sizes = [len(each) for each in (parts.train, parts.search, parts.test)]
    assert sizes == [size - search - test, search, test]
    everything = torch.cat((parts.train, parts.search, parts.test))
    assert everything.sort().values.tolist() == list(range(size))


def test_splits_depend_on_the_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, same, other = (split(100, 20, 20, seed).test for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: Evaluator(SPACE, width, 0), "0 evaluations"),
        (lambda: Evaluator(SPACE, width, 1, patience=0), "patience 0"),
        (lambda: Evaluator(SPACE, lambda _: math.nan, 1)(at(1)), "width=1 must be finite, got nan"),
        (lambda: Evaluator(SPACE, width, 1)(at(4)), "'width' is one of"),
        (lambda: Evaluator(SPACE, width, 1)(Candidate({"depth": 1})), "unknown or missing"),
        (lambda: split(10, 5, 5, 0), "10 examples in parts of 0, 5 and 5"),
        (lambda: split(10, 0, 5, 0), "parts of 5, 0 and 5"),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
