import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from reference.pruning.masks import layer_mask
from reference.pruning.weights import apply_masks_, masked, prunable_weights


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def test_biases_and_norms_are_spared():
    assert list(prunable_weights(net())) == ["0.weight", "3.weight"]


def test_a_spared_module_keeps_everything():
    assert list(prunable_weights(net(), spared=["3"])) == ["0.weight"]


def test_a_head_tied_to_an_embedding_is_the_embedding():
    config = GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    names = prunable_weights(GPT2LMHeadModel(config))
    assert "lm_head.weight" not in names
    assert "transformer.h.0.attn.c_attn.weight" in names


def test_a_weight_of_two_layers_counts_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert list(prunable_weights(model)) == ["0.weight"]


def test_a_masked_copy_leaves_the_model_and_what_is_kept_alone():
    model = net()
    before = model[0].weight.detach().clone()
    mask = layer_mask(before.abs(), 0.5)
    found = masked(model, {"0.weight": mask})
    assert torch.equal(model[0].weight, before)
    assert torch.equal(found[0].weight, before * mask)


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        ({"9.weight": torch.ones(2, dtype=torch.bool)}, "no parameter '9.weight'"),
        ({"3.weight": torch.ones(2, dtype=torch.bool)}, r"shape \(2,\), the parameter \(2, 16\)"),
    ],
)
def test_masks_of_another_model_are_refused(masks, told):
    with pytest.raises(ValueError, match=told):
        apply_masks_(net(), masks)


def test_sparing_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no module 'head' to spare"):
        prunable_weights(net(), spared=["head"])
