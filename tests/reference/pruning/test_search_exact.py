"""Claims about the optimum of sums. 1e-9 is float64's over sums of a few losses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_landscapes import Landscape

from reference.pruning.search.exact import AdditiveCost, additive_optimum
from reference.pruning.search.space import Choice, Constraint, Space


def ragged(seed: int, budget: float) -> tuple[Space, dict]:
    """Choices of 1, 2 and 4 values, of ints, floats and words."""
    values = {"depth": (3,), "share": (0.25, 0.5), "kind": ("a", "b", "c", "d")}
    source = Landscape(seed, choices=3)
    costs = {n: dict(zip(v, source.costs[f"layer{k}"].values(), strict=False))
             for k, (n, v) in enumerate(values.items())}  # fmt: skip
    losses = {n: dict(zip(v, source.losses()[f"layer{k}"].values(), strict=False))
              for k, (n, v) in enumerate(values.items())}  # fmt: skip
    choices = tuple(Choice(name, each) for name, each in values.items())
    least = sum(next(iter(each.values())) for each in costs.values())
    limit = Constraint("cost", AdditiveCost(costs), least + budget)
    return Space(choices, (limit,)), losses


@given(st.integers(0, 10_000), st.floats(0, 40))
def test_programming_is_brute_force(seed, budget):
    space, losses = ragged(seed, budget)
    found = additive_optimum(space, losses)
    every = [sum(losses[n][v] for n, v in each.items()) for each in space.fitting()]
    assert found.loss == pytest.approx(min(every), abs=1e-9)
    assert found.loss == pytest.approx(sum(losses[n][v] for n, v in found.candidate.items()))
    assert found.cost == pytest.approx(space.constraints[0].cost(found.candidate))
    assert space.fits(found.candidate)


def test_regret_is_0_where_scores_are_sums():
    for seed in range(5):
        flat = Landscape(seed, choices=4, pairs=0.0)
        found = additive_optimum(flat.space, flat.losses())
        assert flat.score(found.candidate) == pytest.approx(flat.optimum(), abs=1e-9)


def test_pairs_that_tables_do_not_know_cost_regret():
    regrets = []
    for seed in range(5):
        landscape = Landscape(seed, choices=4, pairs=0.6)
        found = additive_optimum(landscape.space, landscape.losses())
        regrets.append(landscape.optimum() - landscape.score(found.candidate))
    assert min(regrets) >= 0
    assert max(regrets) > 0.1


def test_spaces_and_tables_that_do_not_suit_are_refused():
    space, losses = ragged(0, 10.0)
    with pytest.raises(ValueError, match="one constraint, with an AdditiveCost"):
        additive_optimum(Space(space.choices), losses)
    other = Constraint("cost", lambda _: 1.0, 2.0)
    with pytest.raises(ValueError, match="one constraint, with an AdditiveCost"):
        additive_optimum(Space(space.choices, (other,)), losses)
    with pytest.raises(ValueError, match=r"no number for 'share' = 0\.25"):
        additive_optimum(space, {**losses, "share": {0.5: 1.0}})
