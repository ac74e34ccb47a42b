import copy

import pytest
import torch
from hypothesis import given, settings
from transformer_zoo import NAMES, Sizes, batch, logits, loss_of, net, sizes

from reference import walk
from reference.pruning.structured import neurons
from reference.pruning.structured.architecture import architecture
from reference.pruning.structured.slices import of_outputs


@settings(max_examples=15)
@given(sizes())
def test_wanda_is_the_error_of_the_ffn_s_output_when_the_neuron_alone_goes(kind):
    model, given_ = net(kind), batch(kind.family)
    block = architecture(model).blocks[0]
    scores = neurons.wanda(model, [given_])[block.name]
    expected = walk.outputs(model, [block.contract], [given_])[block.contract][0]
    stands = given_.get("attention_mask", torch.ones(expected.shape[:2])).bool()
    for neuron in range(kind.ffn):
        mask = torch.arange(kind.ffn) != neuron
        with neurons.masked_neurons(model, {block.name: mask}):
            found = walk.outputs(model, [block.contract], [given_])[block.contract][0]
        error = (found - expected)[stands].square().sum(-1).mean().sqrt()
        # float64 with cancellation, behind a float32 softmax that both runs share.
        assert float(scores[neuron]) == pytest.approx(float(error), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("family", NAMES)
def test_activation_is_the_mean_over_tokens_that_stand(family):
    model, batches = net(family), [batch(family, tokens=5), batch(family, tokens=3, seed=2)]
    block = architecture(model).blocks[1]
    seen = walk.layer_inputs(model, [block.contract], batches)[block.contract]
    stands = [given_.get("attention_mask") for given_ in batches]
    rows = [
        values.flatten(0, 1) if mask is None else values[mask.bool()]
        for values, mask in zip(seen, stands, strict=True)
    ]
    torch.testing.assert_close(
        neurons.activation(model, batches)[block.name], torch.cat(rows).abs().mean(0)
    )


def test_padding_changes_no_activation():
    model = net("bert")
    ids = torch.tensor([[3, 5, 7, 1, 1]])
    padded = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 0, 0]])}
    alone = {"input_ids": ids[:, :3], "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
    found, expected = (neurons.activation(model, [each]) for each in (padded, alone))
    for name, scores in found.items():
        torch.testing.assert_close(scores, expected[name])


@pytest.mark.parametrize("family", NAMES)
def test_weight_norms_are_those_of_all_that_goes_with_a_neuron(family):
    model = net(family)
    block = architecture(model).blocks[0]
    found = neurons.weight_norm(model)[block.name]
    with torch.no_grad():
        for neuron in range(10):
            parts = [of_outputs(model.get_submodule(name))[neuron] for name in block.inward]
            parts.append(of_outputs(model.get_submodule(block.contract))[:, neuron])
            assert float(found[neuron]) == pytest.approx(float(torch.cat(parts).norm()))
    assert len(block.inward) == (2 if family == "llama" else 1)


@pytest.mark.parametrize("family", NAMES)
def test_the_slope_of_a_neuron_is_the_sum_of_g_w_over_its_column(family):
    model, given_ = net(family), batch(family)
    block = architecture(model).blocks[-1]
    contract = model.get_submodule(block.contract)
    (slope,) = torch.autograd.grad(loss_of(model, given_), [contract.weight])
    product = slope * contract.weight.detach()
    expected = (product.T if family == "gpt2" else product).sum(0)
    found = neurons.gradient(model, loss_of, [given_])[block.name]
    torch.testing.assert_close(found, expected.abs(), rtol=1e-5, atol=1e-9)
    squared = neurons.taylor(model, loss_of, [given_])[block.name]
    torch.testing.assert_close(squared, expected.square(), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("family", NAMES)
def test_neurons_that_are_always_zero_are_worth_nothing_and_masking_them_changes_nothing(family):
    model, given_ = net(family), batch(family)
    block = architecture(model).blocks[0]
    with torch.no_grad():
        for name in block.inward:
            layer = model.get_submodule(name)
            of_outputs(layer)[:3] = 0
            layer.bias[:3] = 0
    for scores in (
        neurons.activation(model, [given_]),
        neurons.wanda(model, [given_]),
        neurons.gradient(model, loss_of, [given_]),
        neurons.taylor(model, loss_of, [given_]),
    ):
        assert not scores[block.name][:3].any()
        assert scores[block.name][3:].all()
    with neurons.masked_neurons(model, {block.name: torch.arange(10) > 2}):
        found = logits(model, given_)
    assert torch.equal(found, logits(model, given_))


def test_random_scores_come_from_the_generator_alone():
    model, state = net(Sizes("vit", ffn=7)), torch.get_rng_state()
    first, second = (neurons.random(model, torch.Generator().manual_seed(4)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert {len(each) for each in first.values()} == {7}
    assert torch.equal(torch.get_rng_state(), state)


def test_scores_leave_the_model_as_it_was():
    model = net("llama").train()
    before = copy.deepcopy(model.state_dict())
    neurons.wanda(model, [batch("llama")])
    neurons.taylor(model, loss_of, [batch("llama")])
    assert model.training
    assert all(each.grad is None for each in model.parameters())
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())


def test_no_batches_are_refused():
    with pytest.raises(ValueError, match="at least one batch, got none"):
        neurons.activation(net("bert"), [])
    with pytest.raises(ValueError, match="at least one batch, got none"):
        neurons.taylor(net("bert"), loss_of, [])
