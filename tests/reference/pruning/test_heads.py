import copy

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from transformer_zoo import NAMES, Sizes, batch, logits, loss_of, net, sizes

from reference.pruning.structured import gates, heads
from reference.pruning.structured.architecture import architecture, block_widths
from reference.pruning.structured.selection import even
from reference.pruning.structured.slices import of_outputs


class Gated(nn.Module):
    """A real gate, a parameter of the network, between the context and the output projection."""

    def __init__(self, out: nn.Module, count: int):
        super().__init__()
        self.out = out
        self.xi = nn.Parameter(torch.ones(count, dtype=torch.float64))

    def forward(self, context: Tensor) -> Tensor:
        by_head = context.unflatten(-1, (len(self.xi), -1))
        return self.out((by_head * self.xi[:, None]).flatten(-2))


def with_gates(model):
    """A copy with real gates, and the gates by block."""
    found, blocks = copy.deepcopy(model), architecture(model).blocks
    gates_ = {}
    for block in blocks:
        count = block_widths(model, block).heads
        gated = Gated(found.get_submodule(block.out), count)
        parent, _, child = block.out.rpartition(".")
        setattr(found.get_submodule(parent), child, gated)
        gates_[block.name] = gated.xi
    return found, gates_


@settings(max_examples=15)
@given(sizes())
def test_the_score_is_the_autograd_gradient_of_a_gate_at_one(kind):
    model, batches = net(kind), [batch(kind.family, seed=s) for s in (1, 2)]
    scores = heads.gradient(model, loss_of, batches)
    squares = heads.taylor(model, loss_of, batches)
    gated, xi = with_gates(model)
    rows = [torch.autograd.grad(loss_of(gated, each), list(xi.values())) for each in batches]
    for name, *found in zip(xi, *rows, strict=True):
        slopes = torch.stack(found)
        torch.testing.assert_close(  # softmax and RMSNorm are float32 inside
            scores[name], slopes.abs().mean(0), rtol=1e-5, atol=1e-9
        )
        torch.testing.assert_close(squares[name], slopes.square().mean(0), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("family", NAMES)
def test_the_slope_of_a_gate_is_the_difference_quotient(family):
    model, given_ = net(family), batch(family)
    block = architecture(model).blocks[0]
    found = gates.slopes(model, {block.out: 3}, loss_of, [given_])[block.out][0]
    step = 1e-2  # large, because float32 inside leaves 1e-7 of noise: 1e-5 in the quotient
    for head in range(3):
        losses = []
        for sign in (1, -1):
            xi = torch.ones(3, dtype=torch.float64)
            xi[head] += sign * step
            with gates.gated(model, {block.out: xi}), torch.no_grad():
                losses.append(float(loss_of(model, given_)))
        quotient = (losses[0] - losses[1]) / (2 * step)
        assert float(found[head]) == pytest.approx(quotient, rel=5e-3, abs=1e-3)


@pytest.mark.parametrize("family", NAMES)
def test_the_slope_of_a_gate_is_the_sum_of_g_w_over_the_columns_that_read_the_head(family):
    model, given_ = net(family), batch(family)
    block = architecture(model).blocks[-1]
    out = model.get_submodule(block.out)
    (slope,) = torch.autograd.grad(loss_of(model, given_), [out.weight])
    product = slope * out.weight
    product = product.T if family == "gpt2" else product
    expected = product.sum(0).reshape(3, -1).sum(1)
    found = gates.slopes(model, {block.out: 3}, loss_of, [given_])[block.out][0]
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("family", NAMES)
def test_a_masked_head_is_a_head_whose_columns_of_the_output_projection_are_zero(family):
    model, given_ = net(family), batch(family)
    block = architecture(model).blocks[0]
    zeroed = copy.deepcopy(model)
    with torch.no_grad():
        of_outputs(zeroed.get_submodule(block.out))[:, 4:8] = 0
    with heads.masked_heads(model, {block.name: torch.tensor([True, False, True])}):
        found = logits(model, given_)
    torch.testing.assert_close(found, logits(zeroed, given_), rtol=0, atol=1e-12)
    assert not torch.allclose(found, logits(model, given_))


@pytest.mark.parametrize("family", NAMES)
def test_with_every_head_masked_attention_gives_the_bias_of_its_output_projection(family):
    model, given_ = net(family), batch(family)
    block = architecture(model).blocks[0]
    out, seen = model.get_submodule(block.out), []
    handle = out.register_forward_hook(lambda module, entering, leaving: seen.append(leaving))
    with heads.masked_heads(model, {block.name: torch.zeros(3, dtype=torch.bool)}):
        logits(model, given_)
    handle.remove()
    assert torch.equal(seen[0], out.bias.expand_as(seen[0]))


@pytest.mark.parametrize("family", NAMES)
def test_weight_norms_are_those_of_the_head_s_slices(family):
    model = net(family)
    block = architecture(model).blocks[0]
    found = heads.weight_norm(model)[block.name]
    parts = [of_outputs(model.get_submodule(name)) for name in block.qkv]
    query, key, value = parts[0].chunk(3) if block.fused else parts
    out = of_outputs(model.get_submodule(block.out))
    for head in range(3):
        rows = slice(4 * head, 4 * head + 4)
        weights = torch.cat([each[rows].flatten() for each in (query, key, value, out.T)])
        assert float(found[head]) == pytest.approx(weights.norm().item())


def test_shared_keys_and_values_count_for_each_query_head():
    model = net(Sizes("llama", kv_heads=2, per_group=2))
    block = architecture(model).blocks[0]
    with torch.no_grad():
        for name in (block.query, block.out, block.value):
            model.get_submodule(name).weight.zero_()
    key = model.get_submodule(block.key).weight
    expected = [key[4 * group : 4 * group + 4].norm().item() for group in (0, 0, 1, 1)]
    assert heads.weight_norm(model)[block.name].tolist() == pytest.approx(expected)


def test_groups_have_the_sum_of_their_heads_and_their_masks_are_for_all_of_them():
    model = net(Sizes("llama", depth=1, kv_heads=2, per_group=3))
    name = architecture(model).blocks[0].name
    scores = {name: torch.tensor([1.0, 2, 3, 4, 5, 6])}
    assert heads.group_scores(model, scores)[name].tolist() == [6, 15]
    masks = heads.of_groups(model, even(heads.group_scores(model, scores), 0.5))
    assert masks[name].tolist() == [False, False, False, True, True, True]


def test_within_groups_each_group_loses_its_lowest():
    model = net(Sizes("llama", depth=1, kv_heads=2, per_group=3))
    name = architecture(model).blocks[0].name
    scores = {name: torch.tensor([3.0, 1, 2, 9, 8, 7])}
    masks = heads.within_groups(model, scores, 1 / 3)
    assert masks[name].tolist() == [True, False, True, True, True, False]
    with pytest.raises(ValueError, match=r"sparsity 0\.9 leaves no query head of 3 in a group"):
        heads.within_groups(model, scores, 0.9)


def test_normalised_scores_have_length_one_in_every_layer():
    found = heads.normalised({"a": torch.tensor([3.0, 4.0]), "b": torch.zeros(2)})
    assert found["a"].tolist() == pytest.approx([0.6, 0.8])
    assert found["b"].tolist() == [0, 0]


def test_random_scores_come_from_the_generator_alone():
    model = net("bert")
    state = torch.get_rng_state()
    first, second = (heads.random(model, torch.Generator().manual_seed(4)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("family", NAMES)
def test_scores_leave_the_model_as_it_was(family):
    model = net(family).train()
    model.requires_grad_(False)
    state, before = torch.get_rng_state(), copy.deepcopy(model.state_dict())
    heads.gradient(model, loss_of, [batch(family)])
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(each.grad is None for each in model.parameters())
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_no_batches_and_gates_that_do_not_fit_are_refused():
    model = net("bert")
    with pytest.raises(ValueError, match="at least one batch, got none"):
        heads.gradient(model, loss_of, [])
    out = architecture(model).blocks[0].out
    with (
        pytest.raises(ValueError, match=r"5 gates do not divide 12 inputs of 'bert\.encoder"),
        gates.gated(model, {out: torch.ones(5)}),
    ):
        logits(model, batch("bert"))
    assert not model.get_submodule(out)._forward_pre_hooks
