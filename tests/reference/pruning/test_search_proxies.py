"""Claims about proxies and how well they rank."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from reference.pruning.search.proxies import grad_norm, rank_agreement


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(one, other):
    """Tau-b by counting pairs."""
    signs = []
    for a, b in itertools.combinations(range(len(one)), 2):
        signs.append([(each[a] > each[b]) - (each[a] < each[b]) for each in (one, other)])
    kept = [sum(1 for pair in signs if pair[side]) for side in (0, 1)]
    return sum(a * b for a, b in signs) / (kept[0] * kept[1]) ** 0.5


scores = st.lists(st.integers(0, 4).map(float), min_size=3, max_size=12)


@given(scores, st.integers(0, 99))
@settings(max_examples=25)
def test_tau_counts_pairs_and_lies_between_1_and_minus_1(one, seed):
    other = torch.rand(len(one), generator=drawn(seed)).tolist()
    if len(set(one)) > 1:
        found = rank_agreement(one, other, drawn(seed), resamples=20)
        assert found.tau == pytest.approx(by_hand(one, other), abs=1e-9)
        assert -1 - 1e-9 <= found.low <= found.high <= 1 + 1e-9


def test_the_same_order_is_1_with_no_doubt_and_the_opposite_minus_1():
    ranks = [float(k) for k in range(20)]
    same = rank_agreement(ranks, [each**3 for each in ranks], drawn(0), resamples=100)
    assert (same.tau, same.low, same.high) == pytest.approx((1.0, 1.0, 1.0))
    assert rank_agreement(ranks, ranks[::-1], drawn(0), resamples=20).tau == pytest.approx(-1.0)


def test_the_interval_shrinks_with_the_root_of_the_networks():
    wide, narrow = (
        rank_agreement(
            torch.rand(n, generator=drawn(n)).tolist(),
            torch.rand(n, generator=drawn(n + 1)).tolist(),
            drawn(0),
            resamples=300,
        )
        for n in (10, 250)  # a fifth is expected
    )
    assert 0.1 < (narrow.high - narrow.low) / (wide.high - wide.low) < 0.4


def test_the_interval_covers_a_known_tau_as_often_as_it_says():
    """tau = 2/pi asin(r) for normal pairs. 60 intervals of 90 %: fewer than 47 is a 1-in-1000
    event by the binomial law."""
    truth, r, covered = 2 / torch.pi * torch.asin(torch.tensor(0.6)).item(), 0.6, 0
    for seed in range(60):
        x, e = torch.randn(2, 60, generator=drawn(seed), dtype=torch.float64)
        y = r * x + (1 - r * r) ** 0.5 * e
        found = rank_agreement(x.tolist(), y.tolist(), drawn(seed), 100, confidence=0.9)
        covered += found.low <= truth <= found.high
    assert covered >= 47


def loss_of(model: nn.Module, batch) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def test_grad_norm_is_the_sum_of_norms_and_leaves_the_model_alone():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    batch = (torch.randn(8, 4), torch.arange(8) % 3)
    found = grad_norm(model, batch, loss_of)
    assert all(p.grad is None for p in model.parameters())
    loss_of(model, batch).backward()
    assert found == pytest.approx(sum(model[k].weight.grad.norm().item() for k in (0, 2)))


def test_of_networks_without_weights_there_is_no_score():
    with pytest.raises(ValueError, match="no weight to score"):
        grad_norm(nn.ReLU(), (torch.randn(2, 3), torch.tensor([0, 1])), loss_of)


@pytest.mark.parametrize(
    ("one", "other", "more", "told"),
    [
        ([1.0, 2.0], [1.0, 2.0], {}, "2 and 2 scores: 3 or more"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], {}, "3 and 2 scores"),
        ([1.0, 2.0, float("nan")], [1.0, 2.0, 3.0], {}, "all finite"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], {}, "all equal have no order"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], {"resamples": 0}, "0 resamples"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], {"confidence": 1.0}, "confidence of 1.0"),
    ],
)
def test_what_has_no_meaning_is_refused(one, other, more, told):
    with pytest.raises(ValueError, match=told):
        rank_agreement(one, other, drawn(0), **more)
