"""Claims about strategies, all on landscapes whose optimum is known by enumeration."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_landscapes import STRATEGIES, Landscape, drawn

from reference.pruning.search.evaluation import Evaluator
from reference.pruning.search.evolution import EvolutionConfig, evolution
from reference.pruning.search.exact import exhaustive
from reference.pruning.search.local_search import local_search
from reference.pruning.search.netadapt import NetAdaptConfig, netadapt
from reference.pruning.search.random_search import uniform_candidate
from reference.pruning.search.space import Candidate, Choice, Constraint, Space
from reference.pruning.search.tpe import tpe

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)


def without_order(seed: int, budget: float) -> Space:
    costs = torch.rand(3, 3, 3, generator=drawn(seed), dtype=torch.float64)
    costs[0, 0, 0] = 0.0
    choices = tuple(Choice(name, (0, 1, 2)) for name in "abc")

    def cost(candidate: Candidate) -> float:
        return costs[tuple(candidate[name] for name in "abc")].item()

    return Space(choices, (Constraint("cost", cost, budget),))


@every_strategy
@given(st.integers(0, 10_000), st.floats(0.05, 1), st.integers(1, 30))
@settings(max_examples=25)
def test_what_is_chosen_fits_and_was_measured_within_the_evaluations(
    strategy, seed, budget, evaluations
):
    space = without_order(seed, budget)
    evaluator = Evaluator(space, lambda each: float(each["a"] + each["b"]), evaluations, 20)
    found = strategy(evaluator, drawn(seed))
    assert space.fits(found.candidate)
    assert found in evaluator.history
    assert len(evaluator.history) <= evaluations


@every_strategy
def test_the_seed_decides_and_the_global_state_stays(strategy):
    state = torch.get_rng_state()
    runs = []
    for _ in range(2):
        evaluator = Landscape(3).evaluator(40)
        strategy(evaluator, drawn(5))
        runs.append(evaluator.history)
    assert runs[0] == runs[1]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seed", range(5))
def test_everything_tried_leaves_no_regret(seed):
    landscape = Landscape(seed, choices=4)
    assert exhaustive(landscape.evaluator(256)).search_score == landscape.optimum()


def test_the_oldest_dies_even_if_it_is_the_best():
    """Were the first one to live on, all would be its children and differ from it in one choice."""
    choices = Landscape(0, choices=8).space.choices
    scores = itertools.chain([100.0], itertools.count(1.0))
    evaluator = Evaluator(Space(choices), lambda _: next(scores), 12)
    config = EvolutionConfig(population=2, tournament=2, mutation=0.0, crossover=0.0)
    best = evolution(evaluator, drawn(0), config).candidate
    found = [each.candidate for each in evaluator.history]
    assert best == found[0]
    assert apart(found[2], best) == 1
    assert all(apart(child, parent) == 1 for parent, child in itertools.pairwise(found[2:]))
    assert apart(found[-1], best) > 1


def apart(one: Candidate, other: Candidate) -> int:
    return sum(one[name] != other[name] for name in one)


def test_children_of_pure_mutation_differ_from_a_living_one_in_one_choice():
    space = Landscape(0, choices=8).space.choices
    config = EvolutionConfig(population=5, tournament=5, mutation=0.0, crossover=0.0)
    score = Landscape(0, choices=8).score
    evaluator = Evaluator(Space(space), score, 40)
    evolution(evaluator, drawn(1), config)
    found = [each.candidate for each in evaluator.history]
    for place in range(5, len(found)):
        assert min(apart(found[place], other) for other in found[:place]) == 1


def test_netadapt_takes_the_best_proposal_of_each_step():
    """Layer a is worth nothing, b and c something: a is used up before the others lose anything."""
    choices = tuple(Choice(name, (1, 2, 3, 4)) for name in "abc")
    limit = Constraint("sum", lambda each: float(sum(each.values())), 8.0)
    space = Space(choices, (limit,))
    evaluator = Evaluator(space, lambda each: float(5 * each["b"] + 4 * each["c"]), 50)
    found = netadapt(evaluator, drawn(0), NetAdaptConfig(reduction=1 / 12, decay=1.0))
    assert found.candidate == Candidate({"a": 1, "b": 4, "c": 3})
    first = [each.candidate for each in evaluator.history[:3]]
    assert first == [space.largest.but(name, 3) for name in "abc"]


@given(st.integers(0, 10_000), st.floats(0.01, 0.5))
@settings(max_examples=30)
def test_every_step_of_netadapt_saves_what_it_must(seed, reduction):
    landscape = Landscape(seed, choices=4)
    space, evaluator = landscape.space, landscape.evaluator(10_000)
    found = netadapt(evaluator, drawn(seed), NetAdaptConfig(reduction=reduction))
    loads = [space.load(each.candidate) for each in evaluator.history]
    assert max(loads) < space.load(space.largest)
    assert found.candidate == evaluator.history[-1].candidate or space.fits(found.candidate)


def test_netadapt_ends_where_no_single_layer_can_save_anything():
    choices = tuple(Choice(name, (1, 2)) for name in "ab")
    space = Space(choices, (Constraint("max", lambda each: float(max(each.values())), 1.0),))
    evaluator = Evaluator(space, lambda _: 0.0, 5)
    assert netadapt(evaluator, drawn(0)).candidate == space.smallest


def test_netadapt_leaves_a_network_that_fits_alone():
    space = Space((Choice("a", (1, 2)),))
    evaluator = Evaluator(space, lambda _: 0.0, 5)
    assert netadapt(evaluator, drawn(0)).candidate == space.largest
    assert len(evaluator.history) == 1


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_uniform_is_the_highest_height_that_fits(seed, share):
    numbers = drawn(seed)
    sizes = torch.randint(1, 6, (4,), generator=numbers).tolist()
    choices = tuple(Choice(name, tuple(range(n))) for name, n in zip("abcd", sizes, strict=True))
    budget = 1.0 + share * sum(sizes)
    space = Space(choices, (Constraint("sum", lambda c: 1.0 + sum(c.values()), budget),))
    found = space.places(uniform_candidate(space))
    heights = [k / 5040 for k in range(5041)]  # beyond all denominators that occur
    every = [[int(h * (n - 1) + 0.5) for n in sizes] for h in heights]
    best = [each for each in every if 1.0 + sum(each) <= budget]
    assert sum(found) == max(map(sum, best))


def test_local_search_stops_at_no_candidate_with_a_better_neighbour():
    """Without pairs the only local optimum without a budget is the best of each choice."""
    landscape = Landscape(2, pairs=0.0)
    space = Space(landscape.space.choices)
    evaluator = Evaluator(space, landscape.score, 400)
    assert local_search(evaluator, drawn(0)).candidate == space.largest


def test_tpe_leaves_the_messages_of_its_library_as_they_were():
    import optuna

    before = optuna.logging.get_verbosity()
    tpe(Landscape(0).evaluator(5), drawn(0))
    assert optuna.logging.get_verbosity() == before


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: EvolutionConfig(population=4, tournament=5), "got 5 of 4"),
        (lambda: EvolutionConfig(tournament=0), "at least 1"),
        (lambda: EvolutionConfig(mutation=1.5), "within 0 and 1, got 1.5"),
        (lambda: EvolutionConfig(crossover=-0.5), "got 0.1 and -0.5"),
        (lambda: NetAdaptConfig(reduction=0.0), r"in \(0, 1\], got 0.0"),
        (lambda: NetAdaptConfig(decay=1.5), "got 0.05 and 1.5"),
        (lambda: tpe(Landscape(0).evaluator(5), drawn(0), startup=0), "startup must be"),
        (lambda: exhaustive(Landscape(0).evaluator(5)), "all 5 evaluations are spent"),
        (lambda: exhaustive(Landscape(0).evaluator(5), limit=9), "a space of 1024"),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
