import pytest
import torch
from gradient_nets import chain, loss_of, vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.pruning.gradient.derivatives import stacked_gradients
from reference.pruning.gradient.hessian import flat
from reference.pruning.gradient.obs import obs_scores, removed_at_once
from reference.pruning.gradient.wood_fisher import (
    FisherConfig,
    inverse_fisher,
    mended_weight,
    wood_fisher,
    wood_fisher_scores,
)
from reference.pruning.masks import global_masks, sparsity_of
from reference.pruning.weights import prunable_weights

WHOLE = FisherConfig(block_size=10**6, damping=1e-3)


def fisher(gradients, damping):
    return (
        gradients.T @ gradients / len(gradients) + damping * torch.eye(gradients.shape[1]).double()
    )


def drawn(samples: int, n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, n, generator=torch.Generator().manual_seed(seed)).double()


@given(
    st.integers(1, 12), st.integers(1, 9), st.sampled_from([1e-4, 1e-2, 1.0]), st.integers(0, 99)
)
@settings(max_examples=40)
def test_the_recursion_is_the_inverse(samples, n, damping, seed):
    """1e-8 relative to the largest entry, 1 / damping."""
    gradients = drawn(samples, n, seed)
    found = inverse_fisher(gradients, FisherConfig(10**6, damping))
    expected = fisher(gradients, damping).inverse()
    assert found.shape == (1, n, n)
    assert (found[0] - expected).abs().max() < 1e-8 / damping


@pytest.mark.parametrize("n", [8, 10])
def test_blocks_are_the_inverses_of_the_blocks(n):
    gradients = drawn(20, n)
    found = inverse_fisher(gradients, FisherConfig(4, 1e-3))
    whole = fisher(gradients, 1e-3)
    for block, begin in enumerate(range(0, n, 4)):
        size = min(4, n - begin)
        expected = whole[begin : begin + size, begin : begin + size].inverse()
        assert torch.allclose(found[block, :size, :size], expected, rtol=1e-8)


def test_where_fisher_has_blocks_nothing_is_lost():
    gradients = torch.zeros(16, 8).double()
    gradients[:8, :4], gradients[8:, 4:] = drawn(8, 4), drawn(8, 4, 1)
    blocks = inverse_fisher(gradients, FisherConfig(4, 1e-3))
    whole = inverse_fisher(gradients, WHOLE)[0]
    assert torch.allclose(torch.block_diag(*blocks), whole, atol=1e-8)
    weight = drawn(1, 8)[0]
    mask = torch.tensor([True, False, True, True, False, False, True, True])
    assert torch.allclose(
        mended_weight(weight, blocks, mask),
        mended_weight(weight, whole.unsqueeze(0), mask),
        atol=1e-8,
    )


def model_and_samples():
    return chain([6, 5, 4], bias=True), vectors(6, 4, count=30, size=1)


def test_the_score_is_the_surgeons_with_fishers_inverse():
    model, samples = model_and_samples()
    rows = stacked_gradients(model, prunable_weights(model), samples, loss_of)
    scores = wood_fisher_scores(model, samples, loss_of, WHOLE)
    for name, weight in prunable_weights(model).items():
        inverse = fisher(rows[name].flatten(1), WHOLE.damping).inverse().unsqueeze(0)
        expected = obs_scores(weight.detach().reshape(1, -1), inverse).reshape(weight.shape)
        assert torch.allclose(scores[name], expected, rtol=1e-7)


def test_blocks_of_one_are_obd_with_fishers_diagonal():
    model, samples = model_and_samples()
    rows = stacked_gradients(model, prunable_weights(model), samples, loss_of)
    found = wood_fisher_scores(model, samples, loss_of, FisherConfig(1, 1e-3))
    for name, weight in prunable_weights(model).items():
        diagonal = rows[name].square().mean(0) + 1e-3
        assert torch.allclose(found[name], diagonal * weight.square() / 2, rtol=1e-9)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("block_size", [7, 10**6])
def test_the_lowest_go_and_the_rest_of_a_block_makes_up_for_them(sparsity, block_size):
    model, samples = model_and_samples()
    before = flat(dict(model.named_parameters())).clone()
    config = FisherConfig(block_size, 1e-3)
    found = wood_fisher(model, samples, loss_of, sparsity, config)
    expected = global_masks(wood_fisher_scores(model, samples, loss_of, config), sparsity)
    assert all(torch.equal(found.masks[name], expected[name]) for name in expected)
    assert sparsity_of(found.masks) == pytest.approx(sparsity, abs=1e-9)
    for name, mask in found.masks.items():
        assert not found.model.get_parameter(name)[~mask].any()
    assert torch.equal(flat(dict(model.named_parameters())), before)
    assert torch.equal(found.model[0].bias, model[0].bias)


def test_the_update_is_the_best_on_the_mask_for_fishers_quadratic():
    model, samples = model_and_samples()
    found = wood_fisher(model, samples, loss_of, 0.5, WHOLE)
    rows = stacked_gradients(model, prunable_weights(model), samples, loss_of)
    for name, mask in found.masks.items():
        curved = fisher(rows[name].flatten(1), WHOLE.damping)
        weight = model.get_parameter(name).detach().reshape(1, -1)
        inverse = curved.inverse().unsqueeze(0)
        best, cost = removed_at_once(weight, inverse, mask.reshape(1, -1))
        change = (found.model.get_parameter(name).detach().reshape(1, -1) - weight)[0]
        assert torch.allclose(change, (best - weight)[0], atol=1e-7)
        assert (change @ curved @ change / 2).item() == pytest.approx(cost.item(), rel=1e-6)
        moved = change.abs() * mask.flatten()
        assert moved.max() > 1e-4


def test_half_precision_weights_keep_their_dtype():
    _, samples = model_and_samples()
    small = chain([6, 5, 4]).to(torch.bfloat16)
    halves = [(x.bfloat16(), y) for x, y in samples]
    found = wood_fisher(small, halves, loss_of, 0.5, WHOLE)
    assert {p.dtype for p in found.model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((0, 1e-3), "block_size must be at least 1, got 0"),
        ((5, 0.0), "damping must be above zero and finite, got 0"),
        ((5, float("nan")), "damping must be above zero"),
    ],
)
def test_settings_without_meaning_are_refused(values, told):
    with pytest.raises(ValueError, match=told):
        FisherConfig(*values)


def test_gradients_that_are_none_or_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"of a sample at least, got shape \(0, 3\)"):
        inverse_fisher(torch.zeros(0, 3).double())
    with pytest.raises(ValueError, match="must be finite"):
        inverse_fisher(torch.full((2, 3), float("nan")).double())
