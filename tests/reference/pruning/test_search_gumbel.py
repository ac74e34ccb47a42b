"""Claims about gates. Frequencies of 20 000 draws lie within four standard errors, 4 * 0.0036."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from search_landscapes import Landscape, drawn

from reference.pruning.search.gumbel import (
    GumbelConfig,
    expected_load,
    gumbel_search,
    gumbel_softmax,
)
from reference.pruning.search.space import Space

LOGITS = torch.tensor([1.0, -0.5, 0.3])
DRAWS = LOGITS.expand(20_000, 3)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_values_are_drawn_as_often_as_softmax_says_at_any_temperature(temperature):
    chosen = gumbel_softmax(DRAWS, temperature, drawn(0)).argmax(1)
    shares = chosen.bincount(minlength=3) / len(chosen)
    assert torch.allclose(shares, LOGITS.softmax(0), atol=0.0144)


def test_the_mean_of_hard_gates_is_softmax_so_that_mean_costs_are_exact():
    costs = torch.tensor([1.0, 5.0, 7.0])
    gates = gumbel_softmax(DRAWS, 1.0, drawn(1), hard=True)
    assert (gates.sort(1).values - torch.tensor([0.0, 0.0, 1.0])).abs().max() < 1e-6  # float32
    assert (gates @ costs).mean().item() == pytest.approx((LOGITS.softmax(0) @ costs).item(), 0.02)


def test_gates_sum_to_1_and_cold_ones_are_nearly_hard():
    warm, cold = (gumbel_softmax(DRAWS, heat, drawn(0)) for heat in (5.0, 0.01))
    assert torch.allclose(warm.sum(1), torch.ones(len(warm)), atol=1e-5)
    assert warm.max(1).values.mean() < 0.6
    assert cold.max(1).values.mean() > 0.98


def test_hard_gates_have_the_gradient_of_soft_ones():
    slopes = []
    for hard in (False, True):
        logits = LOGITS.clone().requires_grad_()
        gates = gumbel_softmax(logits, 0.7, drawn(3), hard=hard)
        (gates @ torch.tensor([1.0, 2.0, 5.0])).backward()
        slopes.append(logits.grad)
    assert torch.equal(*slopes)


def test_the_expected_load_is_that_of_candidates_drawn_by_softmax():
    landscape = Landscape(0, choices=3, values=3)
    space = landscape.space
    logits = [torch.randn(3, generator=drawn(row)) for row in range(3)]
    shares = [each.softmax(0) for each in logits]
    free = Space(space.choices)
    mean = sum(
        space.load(each)
        * torch.stack([shares[r][p] for r, p in enumerate(space.places(each))]).prod()
        for each in free.fitting()
    )
    assert expected_load(space, logits).item() == pytest.approx(mean.item(), rel=1e-5)  # float32


def test_descent_on_gates_comes_close_to_the_optimum():
    """The mean share of the way from the smallest candidate to the optimum."""
    shares = []
    for seed in range(5):
        flat = Landscape(seed, pairs=0.0)
        tables = {name: torch.tensor(list(each.values())) for name, each in flat.losses().items()}
        loss_of = partial(additive_loss, tables)
        found = gumbel_search(flat.space, loss_of, drawn(seed)).candidate
        assert flat.space.fits(found)
        floor, best = flat.score(flat.space.smallest), flat.optimum()
        shares.append((flat.score(found) - floor) / (best - floor))
    assert sum(shares) / len(shares) >= 0.9, shares


def additive_loss(tables, gates):
    return sum(gates[name] @ table for name, table in tables.items())


def test_what_descent_learned_is_what_is_read_out():
    """Where everything fits, the candidate is the likeliest value of each choice: the best one."""
    flat = Landscape(1, pairs=0.0)
    limit = replace(flat.space.constraints[0], budget=1e6)
    space = Space(flat.space.choices, (limit,))
    tables = {name: torch.tensor(list(each.values())) for name, each in flat.losses().items()}
    found = gumbel_search(space, partial(additive_loss, tables), drawn(0))
    assert found.candidate == space.largest


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: gumbel_softmax(LOGITS, 0.0, drawn(0)), "above 0, got 0.0"),
        (lambda: GumbelConfig(steps=0), "no meaning as 0"),
        (lambda: GumbelConfig(hot=0.1, cold=0.2), "0 < cold <= hot, got 0.2, 0.1"),
        (
            lambda: gumbel_search(Space(Landscape(0).space.choices), lambda g: LOGITS, drawn(0)),
            "one constraint, with an AdditiveCost",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
