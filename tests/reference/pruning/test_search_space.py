"""Claims about spaces, and about steps through them that keep within the budget."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_landscapes import Landscape, drawn

from reference.pruning.search.moves import crossed, mutated, neighbours, sampled, shrunk
from reference.pruning.search.space import Candidate, Choice, Constraint, Space

SEED = st.integers(0, 10_000)
RATE = st.floats(0, 1)
WIDTH, BITS = Choice("width", (16, 32, 64)), Choice("bits", (4, 8))


def product(candidate: Candidate) -> float:
    return float(candidate["width"] * candidate["bits"])


def limited(budget: float) -> Space:
    return Space((WIDTH, BITS), (Constraint("area", product, budget),))


def rugged(seed: int, budget: float) -> Space:
    """Costs without any order among values, the smallest candidate's alone within every budget."""

    def cost(candidate: Candidate) -> float:
        places = tuple(Space(choices).places(candidate))
        return float(hash((seed, *places)) % 1000) / 1000 if any(places) else 0.0

    choices = tuple(Choice(name, (0, 1, 2, 3)) for name in "abcd")
    return Space(choices, (Constraint("rugged", cost, budget),))


def test_size_counts_all_and_enumeration_lists_what_fits():
    assert Space((WIDTH, BITS)).size == len(list(Space((WIDTH, BITS)).fitting())) == 6
    found = list(limited(130.0).fitting())
    assert [(each["width"], each["bits"]) for each in found] == [(16, 4), (16, 8), (32, 4)]


def test_a_candidate_equals_and_hashes_by_what_it_says():
    one, other = Candidate({"width": 16, "bits": 4}), Candidate({"bits": 4, "width": 16})
    assert one == other
    assert len({one, other, one.but("bits", 8)}) == 2
    assert one["bits"] == 4


@given(SEED, SEED)
def test_places_and_candidates_are_the_same_thing(seed, other):
    space = Landscape(seed).space
    found = sampled(space, drawn(other))
    assert space.at(space.places(found)) == found


@given(SEED, SEED, st.floats(0.001, 1), RATE)
def test_no_step_leaves_the_budget_whatever_the_costs(seed, draws, budget, rate):
    space, numbers = rugged(seed, budget), drawn(draws)
    one, other = sampled(space, numbers), sampled(space, numbers)
    child = mutated(space, crossed(space, one, other, numbers), numbers, rate)
    around = neighbours(space, child)
    assert all(space.fits(each) for each in (one, other, child, *around))
    assert space.fits(shrunk(space, space.largest, numbers))


@given(SEED, SEED, RATE)
def test_a_mutation_without_a_budget_changes_something(seed, draws, rate):
    space = Space(Landscape(seed).space.choices)
    parent = sampled(space, drawn(draws))
    assert mutated(space, parent, drawn(seed), rate) != parent


def test_a_mutation_at_rate_0_changes_one_choice_and_at_rate_1_all():
    space = Space(Landscape(0).space.choices)
    for seed in range(20):
        parent = sampled(space, drawn(seed))
        for rate, changes in ((0.0, 1), (1.0, 5)):
            child = mutated(space, parent, drawn(seed), rate)
            assert sum(child[name] != parent[name] for name in space.names) == changes


@given(SEED, SEED)
def test_every_choice_of_a_crossed_child_is_one_of_its_parents(seed, draws):
    space = Space(Landscape(seed).space.choices)
    one, other = sampled(space, drawn(draws)), sampled(space, drawn(draws + 1))
    child = crossed(space, one, other, drawn(seed))
    assert all(child[name] in (one[name], other[name]) for name in space.names)


def test_neighbours_are_all_that_differ_in_one_choice_and_fit():
    space = limited(256.0)
    here = Candidate({"width": 32, "bits": 8})
    expected = [each for each in space.fitting() if sum(each[n] != here[n] for n in here) == 1]
    assert sorted(map(repr, neighbours(space, here))) == sorted(map(repr, expected))


def test_what_fits_is_not_shrunk_and_draws_reach_all_of_it():
    space = limited(256.0)
    for each in space.fitting():
        assert shrunk(space, each, drawn(0)) == each
    found = {sampled(space, drawn(seed)) for seed in range(60)}
    assert found == set(space.fitting())


def test_the_same_seed_draws_the_same():
    space = Landscape(1).space
    assert sampled(space, drawn(3)) == sampled(space, drawn(3))


def test_all_of_several_budgets_hold():
    width = Constraint("width", lambda each: float(each["width"]), 32.0)
    bits = Constraint("bits", lambda each: float(each["bits"]), 4.0)
    space = Space((WIDTH, BITS), (width, bits))
    assert {(each["width"], each["bits"]) for each in space.fitting()} == {(16, 4), (32, 4)}
    assert space.load(space.largest) == 2.0


def test_a_cost_of_exactly_the_budget_fits():
    assert Candidate({"width": 32, "bits": 8}) in set(limited(256.0).fitting())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: Choice("width", ()), r"'width' needs distinct values, got \(\)"),
        (lambda: Choice("width", (8, 8)), "distinct values"),
        (lambda: Space(()), "distinct names"),
        (lambda: Space((BITS, BITS)), "distinct names"),
        (lambda: limited(63.0), "a budget of 63 for 'area'; the smallest candidate costs 64"),
        (lambda: limited(0.0), "'area' must be above 0, got 0"),
        (lambda: limited(math.nan), "must be above 0, got nan"),
        (lambda: limited(64.0).places({"width": 16}), "'bits' is unknown or missing"),
        (lambda: limited(64.0).places({"width": 16, "bits": 4, "depth": 1}), "'depth' is unknown"),
        (lambda: limited(64.0).places({"width": 17, "bits": 4}), "'width' is one of .*, got 17"),
        (lambda: limited(64.0).fitting(5), "a space of 6 candidates; at most 5 are enumerated"),
        (lambda: mutated(limited(64.0), limited(64.0).smallest, drawn(0), 1.5), "got 1.5"),
        (lambda: Space((BITS,), (Constraint("c", lambda _: -1.0, 1.0),)), "must cost 0 or more"),
        (lambda: Space((BITS,), (Constraint("c", lambda _: math.nan, 1.0),)), "got nan"),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
