import math

import pytest
import torch
from transformer_zoo import NAMES, Sizes, batch, net

from reference.pruning.structured.architecture import architecture
from reference.pruning.structured.head_attention import confidence, focus, probabilities


@pytest.mark.parametrize("family", NAMES)
def test_probabilities_sum_to_one_and_padding_is_not_looked_at(family):
    model, given = net(family), batch(family)
    for seen in probabilities(model, given).values():
        assert seen.shape == (2, 3, 5, 5)
        torch.testing.assert_close(seen.sum(-1), torch.ones_like(seen.sum(-1)))  # float32 softmax
        if "attention_mask" in given:
            assert not seen[0, :, :, 3:].any()
        if family in ("gpt2", "llama"):
            assert not seen.triu(1).any()


def test_probabilities_that_a_module_keeps_to_itself_are_those_that_it_uses():
    """With value the identity on one feature, attention gives its probabilities' mixture."""
    model, given = net(Sizes("text", depth=1, kv_heads=1)), batch("text")
    attention = model.layers[0].attention
    mixed, values = [], []
    attention.out.register_forward_pre_hook(lambda _, entering: mixed.append(entering[0]))
    attention.value.register_forward_hook(lambda _, entering, leaving: values.append(leaving))
    found = probabilities(model, given)["layers.0"]
    torch.testing.assert_close(found[:, 0] @ values[0], mixed[0])


@pytest.mark.parametrize("family", NAMES)
def test_heads_that_look_everywhere_have_the_entropy_of_the_uniform(family):
    model, given = net(family), batch(family)
    block = architecture(model).blocks[0]
    with torch.no_grad():
        for name in set(block.qkv[:2]):  # GPT-2's holds the values too, which do not matter here
            for each in model.get_submodule(name).parameters():
                each.zero_()
    # How many keys each standing query may see.
    keys = [3] * 3 + [5] * 5 if "attention_mask" in given else [5] * 10
    keys = [1, 2, 3, 4, 5] * 2 if family in ("gpt2", "llama") else keys
    expected = sum(map(math.log, keys)) / len(keys)
    assert (-focus(model, [given])[block.name]).tolist() == pytest.approx([expected] * 3)
    expected = sum(1 / each for each in keys) / len(keys)
    assert confidence(model, [given])[block.name].tolist() == pytest.approx([expected] * 3)


@pytest.mark.parametrize("family", NAMES)
def test_a_sharper_head_is_more_confident_and_more_focused(family):
    model, given = net(family), batch(family)
    block = architecture(model).blocks[0]
    before = confidence(model, [given])[block.name], focus(model, [given])[block.name]
    with torch.no_grad():
        query = model.get_submodule(block.query)
        axis = query.weight if family == "gpt2" else query.weight.T
        axis[:, 4:8] *= 50
        query.bias[4:8] *= 50
    after = confidence(model, [given])[block.name], focus(model, [given])[block.name]
    for old, new in zip(before, after, strict=True):
        assert new[1] > old[1]
        assert torch.equal(new[[0, 2]], old[[0, 2]])
    assert float(after[0][1]) <= 1
    assert float(after[1][1]) <= 0


def test_batches_weigh_by_their_tokens():
    model, long, short = net("gpt2"), batch("gpt2", tokens=9), batch("gpt2", tokens=3)
    name = architecture(model).blocks[0].name
    found = confidence(model, [long, short])[name]
    parts = confidence(model, [long])[name], confidence(model, [short])[name]
    torch.testing.assert_close(found, (9 * parts[0] + 3 * parts[1]) / 12)


def test_attention_that_shows_nothing_and_no_batches_are_refused():
    with pytest.raises(ValueError, match="expected a model with attn_implementation='eager'"):
        confidence(net("bert", attn_implementation="sdpa"), [batch("bert")])
    with pytest.raises(ValueError, match="at least one batch, got none"):
        focus(net("bert"), [])
