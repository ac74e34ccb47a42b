from functools import partial

import pytest
import torch
from nets import images, randomise_norms_, resnet
from qat_runs import every_config, learned, observed, train_
from torch import nn

from reference.quantization.affine import asymmetric_grid, fake_quantize, quantize, symmetric_grid
from reference.quantization.batch_norm import fold_model
from reference.quantization.qat import Stage, prepare, qat_layers, set_stage_
from reference.quantization.qat_convert import IntegerLayer, convert, integer_model
from reference.quantization.static import (
    StaticConfig,
    accumulate,
    accumulator_scale,
    quantize_static,
)


@every_config
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_converted_model_is_the_fake_quantized_one_bit_for_bit(make_config, bits):
    prepared = prepare(resnet(), [images(size=8)], make_config(bits))
    train_(prepared, steps=3, rate=0.001)  # faster, two learned bits have a step below zero
    x = images(6, size=8)
    result = convert(prepared)
    assert torch.equal(result.model(x), prepared.eval()(x))


@every_config
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integer_model_is_the_fake_quantized_one(make_config, bits):
    """float64, so that no value lies so near a tie that the order of a sum decides its code."""
    prepared = prepare(resnet().double(), [images(size=8).double()], make_config(bits))
    set_stage_(prepared, Stage())
    x = images(6, size=8).double()
    prepared.train()(x)
    logits = prepared.eval()(x)
    integers = integer_model(convert(prepared))
    assert sum(isinstance(each, IntegerLayer) for each in integers.modules()) == len(
        qat_layers(prepared)
    )
    # sums of up to 100 terms, 1.1e-16 each
    torch.testing.assert_close(integers(x), logits, rtol=1e-10, atol=1e-10)


@every_config
def test_layer_of_the_float32_model_is_within_one_step_of_its_integers(make_config):
    """The same input to both: a float32 sum may land half a unit of the accumulator away."""
    prepared = prepare(resnet(), [images(size=8)], make_config(4))
    train_(prepared, steps=3)
    prepared.eval()
    for name, quantized in convert(prepared).layers.items():
        layer = prepared.get_submodule(name)
        shape = (2, *layer.layer.weight.shape[1:])
        if isinstance(layer.layer, nn.Conv2d):
            shape = (2, layer.layer.in_channels, 6, 6)
        x = torch.randn(shape)
        sums = accumulate(layer.layer, quantized, quantize(x, quantized.input_grid))
        scale = accumulator_scale(quantized)
        scale = scale.reshape(-1, 1, 1) if isinstance(layer.layer, nn.Conv2d) else scale
        assert (layer(x) / scale - sums).abs().max() < 0.5, name


def test_untrained_conversion_is_static_quantization():
    """The same grids on the same folded weights: QAT starts where PTQ ends."""
    model, x = fold_model(resnet()), images()
    converted = convert(prepare(model, [x], observed(8)))
    static = quantize_static(model, [x])
    for name, layer in static.layers.items():
        ours = converted.layers[name]
        assert torch.equal(ours.input_grid.scale, layer.input_grid.scale), name
        assert torch.equal(ours.weight, layer.weight), name
        assert torch.equal(ours.bias, layer.bias), name
    assert torch.equal(converted.model(x), static.model(x))


def test_negative_gamma_and_none_survive_folding():
    pair = randomise_norms_(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)))
    with torch.no_grad():
        pair[1].weight.copy_(torch.tensor([-1.5, 0.0, 0.5, -1e-8]))
    x = images()
    prepared = prepare(pair, [x], observed(8))
    result = convert(prepared)
    assert torch.equal(result.model(x), prepared.eval()(x))
    assert result.layers["0"].weight[1].abs().max() == 0
    assert (result.model(x) - pair(x)).abs().max() < 0.1  # 8 bits of outputs up to about 5


def test_every_number_of_a_converted_layer_is_on_its_grid():
    prepared = prepare(resnet(), [images(size=8)], learned(3))
    train_(prepared, steps=3)
    result = convert(prepared)
    for name, layer in result.layers.items():
        assert layer.weight.min() >= -4, name
        assert layer.weight.max() <= 3, name
        weight = result.model.get_submodule(name).layer.weight
        assert torch.equal(fake_quantize(weight, layer.weight_grid), weight), name


def test_converting_does_not_modify_the_model():
    prepared = prepare(resnet(), [images(size=8)], observed(4)).train()
    before = {name: value.clone() for name, value in prepared.state_dict().items()}
    integer_model(convert(prepared))
    assert prepared.training
    assert all(torch.equal(value, before[name]) for name, value in prepared.state_dict().items())


def test_model_that_was_not_prepared_is_refused():
    with pytest.raises(ValueError, match="prepare"):
        convert(resnet())


def spirals(seed, count=240):
    """Three interleaved arms: no line separates them."""
    draw = torch.Generator().manual_seed(seed)
    radius = torch.rand(count, generator=draw)
    arm = torch.arange(count) % 3
    angle = 4 * radius + arm * 2 * torch.pi / 3 + 0.1 * torch.randn(count, generator=draw)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), arm


def fit_(model, x, labels, steps, rate):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(x), labels).backward()
        optimizer.step()


@pytest.mark.parametrize("bits", [2, 3])
def test_training_with_rounding_beats_rounding_after_the_same_training(bits):
    """Paired, 3 seeds: QAT's loss is below half of PTQ's, both after the same number of steps."""
    ratios = []
    for seed in range(3):
        torch.manual_seed(seed)
        x, labels = spirals(seed)
        start = nn.Sequential(
            nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)
        )
        fit_(start, x, labels, 150, 0.01)
        prepared = prepare(start, [x], learned(bits))
        fit_(prepared, x, labels, 150, 0.005)
        fit_(start, x, labels, 150, 0.005)
        static = quantize_static(start, [x], StaticConfig(
            activation_grid=partial(asymmetric_grid, bits=bits),
            weight_grid=partial(symmetric_grid, bits=bits),
        ))  # fmt: skip
        losses = [
            nn.functional.cross_entropy(model(x), labels).item()
            for model in (convert(prepared).model, static.model)
        ]
        ratios.append(losses[0] / losses[1])
    assert max(ratios) < 0.5, ratios
