import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformer_zoo import NAMES, Sizes, batch, logits, net, sizes

from reference import walk
from reference.pruning.structured.architecture import all_norms, architecture
from reference.pruning.structured.remove_transformer import remove_width
from reference.pruning.structured.selection import kept_mask
from reference.pruning.structured.slices import of_outputs
from reference.pruning.structured.width import (
    cut_stream_norm_,
    masked_width,
    norm_activation,
    random,
)


def with_zeros(model, mask):
    """A copy of the same size that writes nothing to the removed features of the stream."""
    found, known = copy.deepcopy(model), architecture(model)
    with torch.no_grad():
        for name in known.embeddings:
            found.get_submodule(name).weight[:, ~mask] = 0
        for block in known.blocks:
            for name in block.writers:
                layer = found.get_submodule(name)
                of_outputs(layer)[~mask] = 0
                if layer.bias is not None:
                    layer.bias[~mask] = 0
    return found


@settings(max_examples=30)
@given(st.data(), sizes(families=("llama",)))
def test_with_rms_norm_a_smaller_width_is_the_same_network_with_zeros_in_the_stream(data, kind):
    model, given_ = net(kind), batch("llama")
    mask = torch.arange(kind.width) % kind.head_dim >= data.draw(st.integers(0, kind.head_dim - 1))
    expected = logits(with_zeros(model, mask), given_)
    found = logits(remove_width(model, mask), given_)
    largest = max(1.0, float(expected.abs().max()))
    # float32 inside RMSNorm: 6e-8, times the norms and layers after.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6 * largest)


def test_the_factor_on_rms_norm_is_exact_for_a_large_eps_too():
    class RMSNorm(nn.RMSNorm):
        variance_epsilon = 0.5

        def forward(self, x):
            return (
                self.weight * x / (x.square().mean(-1, keepdim=True) + self.variance_epsilon).sqrt()
            )

    norm, x = RMSNorm(12).double(), torch.randn(5, 12, dtype=torch.float64)
    nn.init.normal_(norm.weight)
    kept = torch.tensor([0, 3, 4, 9])
    gone = [i for i in range(12) if i not in kept]
    x[:, gone] = 0
    expected = norm(x)
    cut_stream_norm_(norm, kept)
    torch.testing.assert_close(norm(x[:, kept]), expected[:, kept], rtol=1e-12, atol=0)
    assert norm.variance_epsilon == pytest.approx(1.5)


def test_with_layer_norm_zeros_in_the_stream_are_another_network():
    model, given_ = net("gpt2"), batch("gpt2")
    mask = torch.arange(12) % 4 > 0
    zeros, smaller = (
        logits(with_zeros(model, mask), given_),
        logits(remove_width(model, mask), given_),
    )
    assert (zeros - smaller).abs().max() > 0.1


@pytest.mark.parametrize("family", NAMES)
def test_norms_of_the_smaller_model_see_the_kept_features_of_the_masked_one(family):
    """In pre-norm models the stream is not masked between norms, and need not be."""
    model, given_ = net(family), batch(family)
    mask = torch.arange(12) % 4 > 0
    names = all_norms(architecture(model))
    with masked_width(model, mask):
        expected = walk.outputs(model, names, [given_])
    found = walk.outputs(remove_width(model, mask), names, [given_])
    for name in names:
        assert not expected[name][0][..., ~mask].any()
        torch.testing.assert_close(  # float32 inside RMSNorm and softmax
            found[name][0], expected[name][0][..., mask], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("family", NAMES)
def test_scores_are_the_mean_sizes_of_what_leaves_the_norms(family):
    model, batches = net(family), [batch(family, tokens=5), batch(family, tokens=3, seed=2)]
    names = all_norms(architecture(model))
    expected = torch.zeros(12, dtype=torch.float64)
    for name in names:
        seen = walk.outputs(model, [name], batches)[name]
        rows = [
            values[given_["attention_mask"].bool()]
            if "attention_mask" in given_
            else values.flatten(0, 1)
            for values, given_ in zip(seen, batches, strict=True)
        ]
        expected += torch.cat(rows).abs().mean(0)
    torch.testing.assert_close(norm_activation(model, batches), expected)


@pytest.mark.parametrize("family", NAMES)
def test_a_feature_that_no_norm_lets_through_scores_lowest(family):
    model, given_ = net(family), [batch(family)]
    with torch.no_grad():
        for name in all_norms(architecture(model)):
            for each in model.get_submodule(name).parameters():
                each[3:6] = 0
    scores = norm_activation(model, given_)
    assert not scores[3:6].any()
    mask = kept_mask(scores, 0.25)
    assert (~mask).nonzero().flatten().tolist() == [3, 4, 5]


def test_sizes_that_modules_keep_follow():
    smaller = remove_width(net("gpt2"), torch.arange(12) % 4 > 0)
    assert smaller.transformer.embed_dim == 9
    assert {block.attn.embed_dim for block in smaller.transformer.h} == {9}
    assert smaller.config.n_embd == 9
    smaller = remove_width(net("llama"), torch.arange(12) % 4 > 0)
    assert {block.mlp.hidden_size for block in smaller.model.layers} == {9}
    assert smaller.model.embed_tokens.embedding_dim == 9
    assert smaller.config.rms_norm_eps == pytest.approx(1e-6 * 12 / 9)
    assert remove_width(net("bert"), torch.arange(12) % 4 > 0).bert.pooler.dense.out_features == 9


def test_random_scores_come_from_the_generator_alone():
    model, state = net("vit"), torch.get_rng_state()
    first, second = (random(model, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (12,)
    assert torch.equal(torch.get_rng_state(), state)


def test_masking_ends_with_the_context():
    model, given_ = net(Sizes("bert")), batch("bert")
    expected = logits(model, given_)
    with masked_width(model, torch.arange(12) > 2):
        assert not torch.equal(logits(model, given_), expected)
    assert torch.equal(logits(model, given_), expected)


def test_no_batches_and_unknown_norms_are_refused():
    with pytest.raises(ValueError, match="at least one batch, got none"):
        norm_activation(net("vit"), [])
    with pytest.raises(ValueError, match="GroupNorm is neither LayerNorm nor Llama's RMSNorm"):
        cut_stream_norm_(nn.GroupNorm(2, 4), torch.tensor([0, 1]))
