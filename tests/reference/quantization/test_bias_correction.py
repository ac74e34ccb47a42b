from functools import partial

import pytest
import torch
from nets import images, resnet
from torch import nn

from reference import walk
from reference.quantization.affine import channel_range, fake_quantize, symmetric_grid
from reference.quantization.batch_norm import fold_model
from reference.quantization.bias_correction import (
    correct_analytic,
    correct_linear,
    correct_model,
    mean_shift,
    relu_mean,
)
from reference.quantization.static import StaticConfig, quantize_static

FOUR_BIT_WEIGHTS = StaticConfig(weight_grid=partial(symmetric_grid, bits=4))


def rounded_layer():
    weight, bias = torch.randn(6, 40).double(), torch.randn(6).double()
    inputs = torch.rand(200, 40).double()  # positive, as after a ReLU
    rounded = fake_quantize(weight, symmetric_grid(channel_range(weight), 3))
    return weight, rounded, bias, inputs


def test_corrected_layer_has_the_mean_output_of_the_original():
    weight, rounded, bias, inputs = rounded_layer()
    corrected = correct_linear(weight, rounded, bias, inputs)
    expected = (inputs @ weight.T + bias).mean(0)
    # float64: 40 terms of size about 1
    torch.testing.assert_close(
        (inputs @ rounded.T + corrected).mean(0), expected, atol=1e-13, rtol=0
    )


def test_correction_is_the_weight_error_times_the_mean_input():
    weight, rounded, bias, inputs = rounded_layer()
    expected = bias + (weight - rounded) @ inputs.mean(0)
    actual = correct_linear(weight, rounded, bias, inputs)
    torch.testing.assert_close(actual, expected, atol=1e-13, rtol=0)


def test_error_falls_by_exactly_the_square_of_the_shift():
    """Mean square = variance + squared mean, and only the mean is removed."""
    weight, rounded, _, inputs = rounded_layer()
    outputs, shifted = inputs @ weight.T, inputs @ rounded.T
    shift = mean_shift(outputs, shifted)
    before = (outputs - shifted).square().mean(0)
    after = (outputs - shifted - shift).square().mean(0)
    torch.testing.assert_close(before - after, shift.square(), atol=1e-12, rtol=0)


def test_correcting_twice_is_correcting_once():
    weight, rounded, bias, inputs = rounded_layer()
    outputs = inputs @ weight.T + bias
    corrected = inputs @ rounded.T + correct_linear(weight, rounded, bias, inputs)
    assert mean_shift(outputs, corrected).abs().max() < 1e-13


def test_weight_that_rounding_did_not_change_keeps_its_bias():
    weight, _, bias, inputs = rounded_layer()
    assert torch.equal(correct_linear(weight, weight, bias, inputs), bias)


def test_every_layer_of_a_corrected_model_has_the_means_of_the_original():
    model, batches = fold_model(resnet()), [images(8), images(8)]
    quantized = quantize_static(model, batches, FOUR_BIT_WEIGHTS).model
    corrected = correct_model(model, quantized, batches)
    targets = walk.output_means(model, walk.named_layers(model), batches)
    means = walk.output_means(corrected, walk.named_layers(corrected), batches)
    for (name, target), mean in zip(targets.items(), means.values(), strict=True):
        # float32 means of 16 x 256 values of size about 1
        torch.testing.assert_close(mean, target, atol=1e-4, rtol=1e-4, msg=name)


def test_correction_lowers_the_logits_mean_error_and_modifies_nothing():
    model, batches = fold_model(resnet()), [images(8)]
    quantized = quantize_static(model, batches, FOUR_BIT_WEIGHTS).model
    before = {name: value.clone() for name, value in quantized.state_dict().items()}
    corrected = correct_model(model, quantized, batches)
    shifts = [
        (each(batches[0]).mean(0) - model(batches[0]).mean(0)).abs().max()
        for each in (quantized, corrected)
    ]
    assert shifts[1] < 0.01 * shifts[0]
    assert all(torch.equal(value, before[name]) for name, value in quantized.state_dict().items())


def test_layer_without_a_bias_gets_one():
    model = nn.Sequential(nn.Linear(20, 5, bias=False))
    batches = [torch.rand(50, 20)]
    quantized = quantize_static(model, batches, FOUR_BIT_WEIGHTS).model
    corrected = correct_model(model, quantized, batches)
    shift = corrected(batches[0]).mean(0) - model(batches[0]).mean(0)
    assert shift.abs().max() < 1e-6  # float32 means of values of size about 1


def test_models_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="1 layers, the quantized 2"):
        correct_model(
            nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), [torch.rand(1, 2)]
        )


def test_analytic_correction_from_the_mean_input_is_the_empirical_one():
    weight, rounded, bias, inputs = rounded_layer()
    expected = correct_linear(weight, rounded, bias, inputs)
    actual = correct_analytic(weight, rounded, bias, inputs.mean(0))
    torch.testing.assert_close(actual, expected, atol=1e-13, rtol=0)


def test_analytic_correction_of_a_convolution_without_padding_is_exact_for_constant_inputs():
    conv = nn.Conv2d(4, 6, 3).double()
    weight, bias = conv.weight.detach(), conv.bias.detach()
    rounded = fake_quantize(weight, symmetric_grid(channel_range(weight), 3))
    mean = torch.rand(4).double()
    x = mean.reshape(1, 4, 1, 1).expand(1, 4, 5, 5)
    corrected = nn.functional.conv2d(x, rounded, correct_analytic(weight, rounded, bias, mean))
    torch.testing.assert_close(corrected, conv(x), atol=1e-13, rtol=0)  # float64, 36 terms


@pytest.mark.parametrize("mean", [-3.0, -0.4, 0.0, 1.0, 6.0])
@pytest.mark.parametrize("deviation", [0.2, -1.0, 4.0])
def test_mean_of_a_rectified_gaussian_is_its_integral(mean, deviation):
    values = mean + deviation * torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = torch.exp(-(((values - mean) / deviation) ** 2) / 2)
    expected = (values.relu() * density).sum() / density.sum()
    found = relu_mean(*torch.tensor([[mean], [deviation]], dtype=torch.float64))
    # the sum's step is 1.2e-4 deviations; the kink at 0 costs its square
    assert found.item() == pytest.approx(expected.item(), abs=1e-8 * abs(deviation))


def test_channel_without_spread_has_its_rectified_mean():
    found = relu_mean(torch.tensor([2.0, -2.0, 0.0]), torch.zeros(3))
    assert found.tolist() == [2.0, 0.0, 0.0]
