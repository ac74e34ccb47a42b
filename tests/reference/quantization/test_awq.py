from functools import partial

import pytest
import torch

from bench.outlier_layers import OutlierLayer, outlier_layer
from reference.quantization.affine import full_symmetric_grid, symmetric_grid
from reference.quantization.awq import AwqConfig, awq
from reference.quantization.packed_weight import WeightOnlyConfig, pack_weight, unpack_weight
from reference.statistics import input_statistics

stored = partial(WeightOnlyConfig, scale_dtype=torch.float64)
GROUPS = stored(3, 16)
CONFIGS = {
    "inputs alone": AwqConfig(GROUPS, duo=False, clip_steps=0),
    "duo": AwqConfig(GROUPS, clip_steps=0),
    "clip alone": AwqConfig(GROUPS, steps=0),
    "all": AwqConfig(GROUPS),
    "symmetric": AwqConfig(stored(4, 16, symmetric_grid)),
    "full symmetric": AwqConfig(stored(2, 16, full_symmetric_grid)),
    "per channel": AwqConfig(stored(4, "channel")),
    "per tensor": AwqConfig(stored(8, "tensor")),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def small(seed: int = 0) -> OutlierLayer:
    return outlier_layer(seed, d_out=12, d_in=64, tokens=300, rank=10)


def nearest(weight, config):
    return unpack_weight(pack_weight(weight, config))


@every_config
@pytest.mark.parametrize("seed", range(4))
def test_awq_is_never_worse_than_rounding(config, seed):
    layer = small(seed)
    result = awq([layer.weight], layer.statistics, config)
    plain = layer.statistics.output_error(nearest(layer.weight, config.stored) - layer.weight)
    assert result.nearest_error == pytest.approx(plain.mean().item(), rel=1e-9)
    assert result.error <= result.nearest_error


@every_config
def test_error_is_that_of_the_weights_it_returns(config):
    layer = small()
    result = awq([layer.weight], layer.statistics, config)
    exact = layer.inputs @ layer.weight.T
    error = (layer.inputs @ result.weights[0].T - exact).square().mean()
    assert result.error == pytest.approx(error.item(), rel=1e-8)


@every_config
def test_stored_weight_divided_by_the_scale_is_the_one_returned(config):
    layer = small()
    result = awq([layer.weight], layer.statistics, config)
    from_store = unpack_weight(result.packed[0]) / result.scale
    assert torch.allclose(from_store, result.weights[0], atol=1e-12)


def test_no_scale_and_no_clip_is_rounding_to_the_bit():
    layer = small()
    result = awq([layer.weight], layer.statistics, AwqConfig(GROUPS, steps=0, clip_steps=0))
    assert torch.equal(result.weights[0], nearest(layer.weight, GROUPS))
    assert torch.equal(result.scale, torch.ones(64, dtype=torch.float64))


def test_scaling_alone_changes_no_output():
    layer = small()
    scale = awq([layer.weight], layer.statistics, CONFIGS["all"]).scale
    moved = (layer.inputs / scale) @ (layer.weight * scale).T
    assert torch.allclose(moved, layer.inputs @ layer.weight.T, atol=1e-10)


def test_large_inputs_are_protected_most():
    layer = outlier_layer(0)
    result = awq([layer.weight], layer.statistics, AwqConfig(stored(4, 64), duo=False))
    largest = layer.statistics.mean_abs.topk(4).indices
    assert set(result.scale.topk(4).indices.tolist()) == set(largest.tolist())


def test_permuting_inputs_permutes_the_answer_where_rows_share_a_step():
    layer = small()
    config = CONFIGS["per channel"]
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    permuted = awq([layer.weight[:, order]], input_statistics([layer.inputs[:, order]]), config)
    result = awq([layer.weight], layer.statistics, config)
    assert torch.allclose(permuted.weights[0], result.weights[0][:, order], atol=1e-9)


def test_layers_with_one_input_share_one_scale():
    layer = small()
    parts = list(layer.weight.split(4))
    result = awq(parts, layer.statistics, CONFIGS["all"])
    whole = awq([layer.weight], layer.statistics, CONFIGS["all"])
    assert torch.equal(result.scale, whole.scale)
    assert torch.allclose(torch.cat(result.weights), whole.weights[0], atol=1e-12)


def test_clipping_improves_what_it_was_chosen_for():
    layer = small()
    plain = awq([layer.weight], layer.statistics, CONFIGS["duo"])
    clipped = awq([layer.weight], layer.statistics, CONFIGS["all"])
    assert clipped.error < plain.error


@pytest.mark.parametrize("bits", [3, 4])
def test_output_error_is_at_most_half_of_nearest(bits):
    """research anchor: 0.35 of nearest, 0.38 at most over eight layers."""
    ratios = []
    for seed in range(8):
        layer = outlier_layer(seed)
        config = AwqConfig(stored(bits, 64), clip_steps=0)
        rounded = awq([layer.weight], layer.statistics, config).weights[0]
        plain = nearest(layer.weight, config.stored)
        ratios.append(layer.relative_error(rounded) / layer.relative_error(plain))
    assert max(ratios) <= 0.5


def test_an_input_never_seen_gets_a_usable_scale():
    layer = small()
    x = layer.inputs.clone()
    x[:, 5] = 0
    result = awq([layer.weight], input_statistics([x]), CONFIGS["all"])
    assert torch.isfinite(result.weights[0]).all()
    assert result.error <= result.nearest_error


@pytest.mark.parametrize(
    ("values", "told"),
    [({"steps": -1}, "steps are -1"), ({"narrowest": 0.0}, r"narrowest must be in \(0, 1\]")],
)
def test_settings_without_meaning_are_refused(values, told):
    with pytest.raises(ValueError, match=told):
        AwqConfig(**values)


def test_no_weight_is_refused():
    with pytest.raises(ValueError, match="no weight"):
        awq([], small().statistics)
