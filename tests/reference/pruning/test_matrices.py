"""Claims about weights as matrices. 1e-5 is float32's over the 27 products of a sum."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import Conv1D

from reference.pruning.magnitude import magnitude_scores
from reference.pruning.masks import block_mask, n_m_mask, removed_count, row_mask
from reference.pruning.matrices import matrix, matrix_masks, tensor_of

LAYERS = [
    nn.Linear(6, 4),
    Conv1D(4, 6),
    nn.Conv1d(3, 4, 2),
    nn.Conv2d(3, 4, 3),
    nn.Conv2d(4, 8, 3, groups=2),
    nn.Conv2d(4, 4, 3, groups=4),
]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(6 * 9, 10), Conv1D(5, 10))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_tensor_comes_back_from_its_matrix(layer, channels_last):
    weight = layer.weight.detach()
    rows = matrix(layer, weight, channels_last)
    outputs = layer.nf if isinstance(layer, Conv1D) else len(weight)
    assert rows.shape == (outputs, weight.numel() // outputs)
    back = tensor_of(layer, rows, channels_last)
    assert torch.equal(back, weight)
    assert back.is_contiguous()


@pytest.mark.parametrize("layer", LAYERS[:2])
def test_a_linear_layer_multiplies_by_its_matrix(layer):
    inputs = torch.randn(5, 6)
    assert torch.allclose(inputs @ matrix(layer, layer.weight).T + layer.bias, layer(inputs))


def test_a_convolution_multiplies_unfolded_patches_by_its_matrix():
    layer, images = nn.Conv2d(3, 4, 3, bias=False), torch.randn(2, 3, 7, 7)
    product = matrix(layer, layer.weight) @ F.unfold(images, 3)
    assert torch.allclose(product, layer(images).flatten(2), atol=1e-5)


def test_channels_last_puts_the_channels_of_one_position_side_by_side():
    layer = nn.Conv2d(4, 2, 3)
    rows = matrix(layer, layer.weight, channels_last=True)
    assert torch.equal(rows[:, :4], layer.weight[:, :, 0, 0])
    assert torch.equal(rows[:, 4:8], layer.weight[:, :, 0, 1])


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 1.0])
def test_every_output_of_every_layer_loses_the_same_number(sparsity):
    model = net()
    masks = matrix_masks(model, magnitude_scores(model), partial(row_mask, sparsity=sparsity))
    assert set((~masks["0.weight"]).flatten(1).sum(1).tolist()) == {removed_count(72, sparsity)}
    assert set((~masks["2.weight"]).sum(1).tolist()) == {removed_count(54, sparsity)}
    assert set((~masks["3.weight"]).sum(0).tolist()) == {removed_count(10, sparsity)}


def test_two_of_four_input_channels_are_kept_at_each_position_of_a_kernel():
    model = net()
    choose = partial(n_m_mask, n=2, m=4)
    mask = matrix_masks(model, magnitude_scores(model), choose, channels_last=True)["0.weight"]
    assert (mask.unflatten(1, (2, 4)).sum(2) == 2).all()


def test_two_of_four_neighbours_are_kept_in_a_flattened_row_and_all_of_a_short_last_group():
    model = net()
    masks = matrix_masks(model, magnitude_scores(model), partial(n_m_mask, n=2, m=4))
    assert (masks["0.weight"].flatten(1).unflatten(1, (-1, 4)).sum(-1) == 2).all()
    assert (masks["2.weight"][:, :52].unflatten(1, (-1, 4)).sum(-1) == 2).all()
    assert masks["2.weight"][:, 52:].all()


def test_blocks_of_a_transposed_layer_are_blocks_of_its_matrix():
    model = net()
    choose = partial(block_mask, shape=(5, 2), sparsity=0.4)
    mask = matrix_masks(model, magnitude_scores(model), choose)["3.weight"]
    blocks = mask.T.unflatten(1, (5, 2))
    assert torch.equal(blocks.all(2).all(0), blocks.any(2).any(0))
    assert blocks.all(2).all(0).sum() == 3


def test_layers_that_multiply_by_no_matrix_are_refused():
    model = nn.Sequential(nn.LayerNorm(4))
    with pytest.raises(ValueError, match="LayerNorm multiplies by no matrix; expected Conv1d"):
        matrix_masks(model, {"0.weight": torch.ones(4)}, partial(row_mask, sparsity=0.5))


def test_scores_of_another_model_are_refused():
    with pytest.raises(ValueError, match=r"no parameter '9\.weight'"):
        matrix_masks(net(), {"9.weight": torch.ones(4, 4)}, partial(row_mask, sparsity=0.5))
