from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import images, resnet
from torch import nn

from reference import walk
from reference.quantization.affine import (
    asymmetric_grid,
    fake_quantize,
    quantize,
    symmetric_grid,
    tensor_range,
)
from reference.quantization.batch_norm import fold_model
from reference.quantization.calibration import percentile
from reference.quantization.static import (
    QuantizedLayer,
    SimulatedLayer,
    StaticConfig,
    accumulate,
    accumulator_scale,
    execute,
    next_codes,
    quantize_layer,
    quantize_static,
    simulate,
)

SIGNED = StaticConfig(activation_grid=partial(asymmetric_grid, signed=True))


def quantized_for(layer, x, config=StaticConfig()) -> QuantizedLayer:
    return quantize_layer(layer, config.activation_grid(tensor_range(x)), config)


@given(
    seed=st.integers(0, 10_000),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
def test_integer_convolution_equals_the_simulated_one(seed, stride, padding, groups, bias):
    torch.manual_seed(seed)
    conv = nn.Conv2d(4, 6, 3, stride, padding, groups=groups, bias=bias).double()
    x = torch.randn(2, 4, 7, 7).double() + 0.5
    quantized = quantized_for(conv, x)
    simulated = simulate(conv, quantized)(x)
    # float64: 36 terms and a bias of size about 1, 1.1e-16 each
    torch.testing.assert_close(execute(conv, quantized, x), simulated, rtol=0, atol=1e-13)
    codes = quantize(x, quantized.input_grid)
    units = simulated / accumulator_scale(quantized).reshape(-1, 1, 1)
    assert torch.equal(units.round().int(), accumulate(conv, quantized, codes))


@pytest.mark.parametrize("config", [StaticConfig(), SIGNED])
@pytest.mark.parametrize("bias", [True, False])
def test_integer_linear_equals_the_simulated_one(config, bias):
    linear = nn.Linear(64, 10, bias=bias).double()
    x = torch.randn(3, 5, 64).double()
    quantized = quantized_for(linear, x, config)
    simulated = simulate(linear, quantized)(x)
    # float64: 64 terms of size below 1, 1.1e-16 each
    torch.testing.assert_close(execute(linear, quantized, x), simulated, rtol=0, atol=1e-13)
    units = (simulated / accumulator_scale(quantized)).round().int()
    assert torch.equal(units, accumulate(linear, quantized, quantize(x, quantized.input_grid)))


def test_two_layers_and_a_relu_in_integers_alone_are_a_code_from_their_simulation():
    """The ReLU costs nothing: codes below the zero point, which is the lowest, are clipped."""
    first, second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3)
    model, x = nn.Sequential(first, nn.ReLU(), second), images(3)
    result = quantize_static(model, [x])
    one, two = result.layers["0"], result.layers["2"]
    assert two.input_grid.zero_point == two.input_grid.qmin
    hidden = next_codes(first, one, quantize(x, one.input_grid), two.input_grid)
    simulated = quantize(result.model[0](x).relu().detach(), two.input_grid)
    assert (hidden - simulated).abs().max() <= 1
    assert (hidden != simulated).float().mean() < 1e-3  # only ties differ
    output_grid = asymmetric_grid(tensor_range(model(x).detach()))
    found = next_codes(second, two, simulated, output_grid)
    assert (found - quantize(result.model(x).detach(), output_grid)).abs().max() <= 1


def test_padding_of_an_integer_convolution_stands_for_zero():
    """Padding the codes with 0 instead of the zero point is the classical mistake."""
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(conv.weight)
    x = torch.full((1, 1, 1, 1), -1.0)
    assert execute(conv, quantized_for(conv, x), x).item() == pytest.approx(-1.0, abs=1e-6)


def test_bias_is_on_the_grid_of_the_accumulator():
    linear = nn.Linear(16, 4)
    quantized = quantized_for(linear, torch.randn(8, 16))
    step = accumulator_scale(quantized)
    kept = simulate(linear, quantized).layer.bias
    # half a step, and the float32 rounding of codes up to 2**15
    assert ((kept - linear.bias).abs() <= step * (0.5 + 2**15 * 2.0**-23)).all()


def test_input_outside_the_calibrated_range_saturates():
    linear = nn.Linear(4, 2)
    quantized = quantized_for(linear, torch.rand(10, 4))
    top = execute(linear, quantized, torch.full((1, 4), 1e3))
    assert torch.equal(top, execute(linear, quantized, torch.full((1, 4), 1e6)))


@pytest.mark.parametrize("config", [StaticConfig(), SIGNED, StaticConfig(calibrate=percentile)])
def test_every_layer_of_a_resnet_is_quantized(config):
    model, x = resnet(), images(8)
    result = quantize_static(model, [x[:4], x[4:]], config)
    assert set(result.layers) == set(walk.named_layers(model))
    simulated = [m for m in result.model.modules() if isinstance(m, SimulatedLayer)]
    assert len(simulated) == len(result.layers)
    logits = model(x)
    noise = (result.model(x) - logits).square().mean() / logits.square().mean()
    assert noise < 0.01  # 20 dB; each of 9 layers adds about 1e-4 at 8 bits


def test_weights_have_one_symmetric_grid_per_output_channel():
    result = quantize_static(resnet(), [images()])
    for name, layer in result.layers.items():
        d_out = len(layer.weight)
        assert layer.weight_grid.scale.numel() == d_out, name
        assert layer.weight_grid.zero_point.abs().max() == 0
        assert layer.input_grid.scale.numel() == 1
        per_channel = layer.weight.abs().flatten(1).amax(1)
        assert torch.equal(per_channel, torch.full((d_out,), 127, dtype=torch.int32))


def test_shared_input_gets_the_same_grid_for_each_reader():
    model = resnet()
    layers = quantize_static(model, [images()]).layers
    first, shortcut = (layers[f"blocks.1.{name}.conv"].input_grid for name in ("first", "shortcut"))
    assert first == shortcut


def test_every_number_of_a_simulated_layer_is_on_its_grid():
    result = quantize_static(resnet(), [images()])
    for name, layer in result.layers.items():
        weight = result.model.get_submodule(name).layer.weight
        assert torch.equal(fake_quantize(weight, layer.weight_grid), weight)


def test_more_bits_bring_the_logits_closer():
    """Not a theorem for one tensor; over a network the error falls fourfold with each bit."""
    model, x = resnet(), images(8)
    logits = model(x)
    errors = []
    for bits in (3, 5, 8):
        config = StaticConfig(
            activation_grid=partial(asymmetric_grid, bits=bits),
            weight_grid=partial(symmetric_grid, bits=bits),
        )
        result = quantize_static(model, [x], config)
        errors.append((result.model(x) - logits).square().mean().item())
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_static_quantization_does_not_modify_the_model():
    model = resnet().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    quantize_static(model, [images()])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_folding_comes_first():
    model, x = resnet(), images()
    result = quantize_static(model, [x])
    again = quantize_static(fold_model(model), [x])
    assert torch.equal(result.model(x), again.model(x))


def test_bad_calibration_is_refused():
    with pytest.raises(ValueError, match="was not reached by 0 batches"):
        quantize_static(resnet(), [])
    with pytest.raises(ValueError, match="inf or nan"):
        quantize_static(resnet(), [images() * float("nan")])


def test_padding_that_is_not_zeros_is_refused():
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")
    x = torch.randn(1, 1, 5, 5)
    with pytest.raises(ValueError, match="reflect"):
        execute(conv, quantized_for(conv, x), x)
