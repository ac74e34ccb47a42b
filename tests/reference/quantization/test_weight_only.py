from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import images, resnet
from safetensors.torch import load, save
from torch import nn

from reference.quantization.affine import (
    asymmetric_grid,
    channel_range,
    fake_quantize,
    full_symmetric_grid,
    group_range,
    symmetric_grid,
    tensor_range,
)
from reference.quantization.packed_weight import WeightOnlyConfig, pack_weight, unpack_weight
from reference.quantization.weight_only import pack_weights, round_weights

GRIDS = [asymmetric_grid, symmetric_grid, full_symmetric_grid]
SPANS = {"tensor": tensor_range, "channel": channel_range, 8: partial(group_range, group_size=8)}
KINDS = (nn.Linear, nn.Conv2d, nn.Embedding)
every_grid = pytest.mark.parametrize("make_grid", GRIDS)


class Reader(nn.Module):
    """An embedding, a linear layer and an output layer, as in a language model."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.inner = nn.Linear(32, 32)
        self.head = nn.Linear(32, 50, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.inner(self.embedding(tokens))))


@every_grid
@pytest.mark.parametrize("granularity", SPANS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_stored_weight_is_the_fake_quantised_one_to_the_bit(make_grid, granularity, bits):
    weight = torch.randn(6, 24)
    stored = pack_weight(weight, WeightOnlyConfig(bits, granularity, make_grid))
    expected = fake_quantize(weight, make_grid(SPANS[granularity](weight), bits))
    assert torch.equal(unpack_weight(stored), expected)


@given(st.integers(0, 10_000), st.sampled_from(list(SPANS)), st.integers(2, 8))
def test_storing_what_was_stored_changes_no_code(seed, granularity, bits):
    """Symmetric: the largest weight of each group stays on the outermost code, and so the step."""
    weight = torch.randn(4, 16, generator=torch.Generator().manual_seed(seed)).double()
    config = WeightOnlyConfig(bits, granularity, symmetric_grid, torch.float64)
    stored = pack_weight(weight, config)
    assert torch.equal(pack_weight(unpack_weight(stored), config).codes, stored.codes)


@pytest.mark.parametrize(
    ("bits", "group", "make_grid", "expected"),
    [
        (4, 128, symmetric_grid, 4.125), (4, 128, asymmetric_grid, 4.15625),
        (4, 32, symmetric_grid, 4.5), (4, 32, asymmetric_grid, 4.625),
        (3, 128, asymmetric_grid, 3.1484375), (2, 64, asymmetric_grid, 2.28125),
    ],
)  # fmt: skip
def test_bits_per_weight_are_codes_steps_and_zero_points(bits, group, make_grid, expected):
    """b + (16 + b_z) / g, for steps in half precision and enough groups to fill whole bytes."""
    config = WeightOnlyConfig(bits, group, make_grid, torch.float16)
    stored = pack_weight(torch.randn(4, 8 * group), config)
    assert stored.bits_per_weight == expected


def test_step_is_rounded_before_the_codes_are_chosen():
    weight = torch.randn(8, 64)
    config = WeightOnlyConfig(4, 16, symmetric_grid, torch.float16)
    error = (unpack_weight(pack_weight(weight, config)) - weight).abs().unflatten(1, (-1, 16))
    step = pack_weight(weight, config).scale.float().unsqueeze(-1)
    # a step rounded down by 2**-11 leaves the largest weight 7 * 2**-11 steps beyond the last code
    assert (error <= step * (0.5 + 1e-6)).all()


def test_steps_that_half_precision_cannot_hold_are_refused_or_kept_above_zero():
    config = WeightOnlyConfig(4, 16, symmetric_grid, torch.float16)
    with pytest.raises(ValueError, match=r"a step of .* does not fit torch.float16"):
        pack_weight(torch.full((2, 16), 1e9), config)
    assert torch.isfinite(unpack_weight(pack_weight(torch.full((2, 16), 1e-12), config))).all()


@every_grid
@pytest.mark.parametrize("granularity", ["tensor", "channel", 16])
def test_packed_model_computes_what_the_rounded_one_does_to_the_bit(make_grid, granularity):
    model, tokens = Reader(), torch.randint(0, 50, (3, 7))
    arguments = (model, WeightOnlyConfig(4, granularity, make_grid), KINDS)
    packed, rounded = pack_weights(*arguments), round_weights(*arguments)
    assert torch.equal(packed(tokens), rounded(tokens))
    assert not torch.equal(rounded(tokens), model(tokens))


def test_packed_convolutions_compute_what_the_rounded_ones_do():
    model, x = resnet(), images()
    arguments = (model, WeightOnlyConfig(4, "channel"), KINDS)
    assert torch.equal(pack_weights(*arguments)(x), round_weights(*arguments)(x))


def test_only_the_kinds_asked_for_are_rounded_and_named_layers_are_kept():
    model = Reader()
    rounded = round_weights(model, WeightOnlyConfig(3, 16), keep=["head"])
    assert torch.equal(rounded.embedding.weight, model.embedding.weight)
    assert torch.equal(rounded.head.weight, model.head.weight)
    assert not torch.equal(rounded.inner.weight, model.inner.weight)


def test_packed_model_is_small_and_survives_a_file():
    model, tokens = Reader(), torch.randint(0, 50, (3, 7))
    config = WeightOnlyConfig(4, 16, symmetric_grid, torch.float16)
    packed = pack_weights(model, config, KINDS)
    written = save(packed.state_dict())
    weights = 50 * 32 + 32 * 32 + 50 * 32
    stored = sum(x.numel() * x.element_size() for x in packed.state_dict().values())
    assert stored == weights // 2 + 2 * weights // 16 + 4 * 32  # codes, steps, the inner bias
    other = pack_weights(Reader(), config, KINDS)
    other.load_state_dict(load(written))
    assert torch.equal(other(tokens), packed(tokens))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_layers_keep_their_dtype(dtype):
    model, tokens = Reader().to(dtype), torch.randint(0, 50, (2, 3))
    for each in (round_weights(model, kinds=KINDS), pack_weights(model, kinds=KINDS)):
        assert each(tokens).dtype == dtype


def test_model_is_not_modified():
    model = Reader()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    round_weights(model, kinds=KINDS)
    pack_weights(model, kinds=KINDS)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_error_falls_with_smaller_groups_and_more_bits_over_a_whole_layer():
    """For one weight neither is a theorem; over 16 000 the mean square follows the step."""
    weight = torch.randn(64, 256) * torch.linspace(0.1, 3, 256)

    def error(bits, granularity):
        stored = pack_weight(weight, WeightOnlyConfig(bits, granularity))
        return (unpack_weight(stored) - weight).square().mean().item()

    assert error(4, 16) < error(4, 64) < error(4, "channel") < error(4, "tensor")
    assert error(2, 64) > 3 * error(3, 64) > 9 * error(4, 64)


def test_what_cannot_be_rounded_is_refused_by_name():
    with pytest.raises(ValueError, match="layer 'inner': 32 inputs do not split into groups of 24"):
        pack_weights(Reader(), WeightOnlyConfig(4, 24))
    with pytest.raises(ValueError, match="groups of 0"):
        pack_weight(torch.randn(2, 4), WeightOnlyConfig(4, 0))
    with pytest.raises(ValueError, match="no layer left to round among Conv2d"):
        round_weights(Reader(), kinds=(nn.Conv2d,))
    broken = Reader()
    nn.init.constant_(broken.head.weight, float("nan"))
    with pytest.raises(ValueError, match=r"layer 'head': .*inf or nan"):
        round_weights(broken)


@pytest.mark.parametrize("bits", [1, 9, 16])
def test_bits_that_are_no_weight_only_format_are_refused(bits):
    with pytest.raises(ValueError, match=f"bits .*{bits}"):
        WeightOnlyConfig(bits)


def test_weights_that_are_never_negative_keep_their_zero_points():
    """All are 0, which no zero points stored would not mean."""
    weight = torch.rand(4, 32)
    expected = fake_quantize(weight, asymmetric_grid(channel_range(weight), 4))
    assert torch.equal(unpack_weight(pack_weight(weight, WeightOnlyConfig(4, "channel"))), expected)


def test_zeros_beside_weights_too_small_for_a_half_precision_step_stay_zero():
    weight = torch.tensor([[0.0, 1e-12, -1e-12, 0.0]])
    config = WeightOnlyConfig(4, 4, symmetric_grid, torch.float16)
    assert torch.equal(unpack_weight(pack_weight(weight, config)), torch.zeros(1, 4))
