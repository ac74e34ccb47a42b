import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from nets import images, resnet
from torch import nn

from reference.quantization.affine import fake_quantize, symmetric_grid, tensor_range
from reference.quantization.batch_norm import fold_model
from reference.quantization.equalization import (
    absorb_bias,
    equalize,
    equalize_model,
    gaussian_floor,
)

UNEVEN = torch.logspace(-3, 0, 8).double()  # sizes of the channels of a layer that needs this
PAIRS = [(f"blocks.{index}.first.conv", f"blocks.{index}.second.conv") for index in range(3)]


def linear_pair():
    first = torch.randn(8, 12).double() * UNEVEN.unsqueeze(1)
    return first, torch.randn(8).double() * UNEVEN, torch.randn(5, 8).double()


@given(st.integers(0, 10_000))
def test_equalization_keeps_the_output_through_a_relu(seed):
    torch.manual_seed(seed)
    first, bias, second = linear_pair()
    x = torch.randn(7, 12).double()
    result = equalize(first, bias, second)
    expected = F.relu(x @ first.T + bias) @ second.T
    actual = F.relu(x @ result.first_weight.T + result.first_bias) @ result.second_weight.T
    # float64: 8 terms of size about 10
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=1e-12)


def test_equalization_does_not_hold_for_relu6():
    first, bias, second = linear_pair()
    x = 100 * torch.randn(7, 12).double()
    result = equalize(first, bias, second)
    expected = F.relu6(x @ first.T + bias) @ second.T
    actual = F.relu6(x @ result.first_weight.T + result.first_bias) @ result.second_weight.T
    assert not torch.allclose(actual, expected, rtol=0.01)


@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_both_ranges_become_the_geometric_mean(kernel):
    first, second = torch.randn(8, 4, *kernel).double(), torch.randn(6, 8, *kernel).double()
    ends = [first.abs().flatten(1).amax(1), second.abs().transpose(0, 1).flatten(1).amax(1)]
    result = equalize(first, None, second)
    expected = (ends[0] * ends[1]).sqrt()
    after = result.first_weight.abs().flatten(1).amax(1)
    torch.testing.assert_close(after, expected, rtol=1e-14, atol=0)
    after = result.second_weight.abs().transpose(0, 1).flatten(1).amax(1)
    torch.testing.assert_close(after, expected, rtol=1e-14, atol=0)


def test_equalizing_twice_is_equalizing_once():
    once = equalize(*linear_pair())
    again = equalize(*once[:3])
    torch.testing.assert_close(again.scale, torch.ones(8).double(), rtol=1e-14, atol=0)


def test_channel_that_one_layer_does_not_use_is_left_alone():
    first, bias, second = linear_pair()
    first[2], second[:, 5] = 0, 0
    result = equalize(first, bias, second)
    assert result.scale[2] == result.scale[5] == 1
    assert all(torch.isfinite(each).all() for each in result)


def test_equalization_rescues_per_tensor_rounding_of_uneven_channels():
    first, bias, second = linear_pair()
    x = torch.randn(200, 12).double()
    expected = F.relu(x @ first.T + bias) @ second.T
    result = equalize(first, bias, second)
    errors = []
    for weights in ((first, bias, second), result[:3]):
        rounded = [fake_quantize(w, symmetric_grid(tensor_range(w), 4)) for w in weights[::2]]
        output = F.relu(x @ rounded[0].T + weights[1]) @ rounded[1].T
        errors.append((output - expected).square().mean())
    assert errors[1] < errors[0]


def test_equalized_resnet_keeps_its_logits():
    model, x = fold_model(resnet()), images()
    logits = model(x)
    equalized = equalize_model(model, PAIRS)
    # float32: 9 layers of up to 288 terms, at about 1e-7 of the largest logit each
    atol = 1e-5 * logits.abs().max().item()
    torch.testing.assert_close(equalized(x), logits, rtol=0, atol=atol)


def test_chain_of_layers_converges_to_equal_ranges_on_both_sides_of_each_channel():
    chain = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    nn.init.normal_(chain[0].weight, std=100.0)
    equalized = equalize_model(chain, [("0", "2"), ("2", "4")], max_sweeps=200)
    for first, second in ((equalized[0], equalized[2]), (equalized[2], equalized[4])):
        rows, columns = first.weight.abs().amax(1), second.weight.abs().amax(0)
        # scales within 1e-4 of 1 in the last sweep; the next pair moved these rows once more
        torch.testing.assert_close(rows, columns, rtol=1e-3, atol=0)


def test_equalization_does_not_modify_its_inputs():
    model = fold_model(resnet())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    equalize_model(model, PAIRS)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_layers_that_do_not_meet_are_refused():
    with pytest.raises(ValueError, match="makes 8 channels, the second reads 7"):
        equalize(torch.randn(8, 3), None, torch.randn(5, 7))


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_grouped_and_depthwise_readers_keep_the_output_and_meet_in_the_middle(groups):
    first = torch.randn(8, 3, 3, 3).double() * UNEVEN.reshape(-1, 1, 1, 1)
    second, bias = torch.randn(16, 8 // groups, 3, 3).double(), torch.randn(8).double()
    x = torch.randn(2, 3, 9, 9).double()
    result = equalize(first, bias, second, groups)
    expected = F.conv2d(F.relu(F.conv2d(x, first, bias)), second, groups=groups)
    hidden = F.relu(F.conv2d(x, result.first_weight, result.first_bias))
    actual = F.conv2d(hidden, result.second_weight, groups=groups)
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=1e-12)  # float64, 72 terms
    again = equalize(result.first_weight, result.first_bias, result.second_weight, groups)
    torch.testing.assert_close(again.scale, torch.ones(8).double(), rtol=1e-14, atol=0)


def test_a_depthwise_layer_of_a_model_is_equalized():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU()
    ).double()
    x = images(2).double()
    equalized = equalize_model(model, [("0", "2")])
    torch.testing.assert_close(equalized(x), model(x), atol=1e-12, rtol=1e-12)
    ends = [equalized[0].weight, equalized[2].weight]
    torch.testing.assert_close(
        *(each.abs().flatten(1).amax(1) for each in ends), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_absorbing_a_bias_keeps_the_output_where_no_channel_falls_below_the_shift(groups):
    first, bias = torch.randn(8, 3, 1, 1).double(), torch.randn(8).double() + 20
    second, second_bias = torch.randn(6, 8 // groups, 3, 3).double(), torch.randn(6).double()
    x = torch.randn(2, 3, 6, 6).double()
    before = F.conv2d(x, first, bias)
    shift = before.amin((0, 2, 3)).clamp(min=0)
    assert (shift > 0).any()
    absorbed = absorb_bias(bias, second, second_bias, shift, groups)
    expected = F.conv2d(F.relu(before), second, second_bias, groups=groups)
    hidden = F.relu(F.conv2d(x, first, absorbed.first_bias))
    actual = F.conv2d(hidden, second, absorbed.second_bias, groups=groups)
    torch.testing.assert_close(actual, expected, atol=1e-11, rtol=0)  # float64, sums near 500
    assert hidden.max() < F.relu(before).max()


def test_the_papers_shift_is_three_deviations_below_the_mean_and_never_negative():
    shift = gaussian_floor(torch.tensor([5.0, 2.0, -1.0]), torch.tensor([1.0, -1.0, 0.1]))
    assert shift.tolist() == [2.0, 0.0, 0.0]


def test_a_negative_shift_is_refused():
    with pytest.raises(ValueError, match="the smallest is -1"):
        absorb_bias(torch.zeros(2), torch.randn(3, 2), torch.zeros(3), torch.tensor([1.0, -1.0]))
