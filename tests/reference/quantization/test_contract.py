"""Claims about all weight quantizers at once; contract.py lists them."""

import pytest
import torch
from contract import TECHNIQUES, Technique

D_OUT, D_IN, TOKENS = 6, 32, 50
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

every_technique = pytest.mark.parametrize(
    "technique", TECHNIQUES, ids=[each.name for each in TECHNIQUES]
)
with_inputs = pytest.mark.parametrize(
    "technique",
    [pytest.param(each, id=each.name) for each in TECHNIQUES if each.uses_inputs],
)
with_groups = pytest.mark.parametrize(
    "technique",
    [pytest.param(each, id=each.name) for each in TECHNIQUES if each.group_size],
)


def layer(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight, and inputs that are correlated and of unequal size, as activations are."""
    inputs = torch.randn(TOKENS, 8) @ torch.randn(8, D_IN) + 0.1 * torch.randn(TOKENS, D_IN)
    inputs[:, 3] *= 10
    return torch.randn(D_OUT, D_IN).to(dtype), inputs.to(dtype)


@every_technique
@pytest.mark.parametrize("dtype", DTYPES)
def test_shape_dtype_and_device_are_kept_and_values_are_finite(technique: Technique, dtype):
    weight, inputs = layer(dtype)
    for bits in technique.bits:
        result = technique.quantize(weight, inputs, bits)
        assert (result.shape, result.dtype, result.device) == (weight.shape, dtype, weight.device)
        assert torch.isfinite(result).all()


@every_technique
def test_inputs_are_not_modified(technique: Technique):
    given = layer()
    before = [x.clone() for x in given]
    result = technique.quantize(*given, technique.bits[0])
    result.zero_()  # nor does the result share their memory
    assert all(torch.equal(x, y) for x, y in zip(given, before, strict=True))


@every_technique
def test_the_same_inputs_give_the_same_result(technique: Technique):
    given = layer()
    first = technique.quantize(*given, technique.bits[0])
    torch.manual_seed(12345)
    assert torch.equal(technique.quantize(*given, technique.bits[0]), first)


@every_technique
def test_memory_layout_does_not_matter(technique: Technique):
    weight, inputs = layer()
    scattered = (weight.T.contiguous().T, inputs.repeat_interleave(2, 0)[::2])
    assert not any(x.is_contiguous() for x in scattered)
    results = [
        technique.quantize(*given, technique.bits[0]) for given in ((weight, inputs), scattered)
    ]
    assert torch.equal(*results)


@with_groups
def test_few_values_are_left_in_a_row(technique: Technique):
    """At most 2**bits for each group of a row: it is a quantizer."""
    weight, inputs = layer(torch.float64)
    bits = technique.bits[0]
    result = technique.quantize(weight, inputs, bits)
    for group in result.unflatten(-1, (-1, technique.group_size)).flatten(0, 1):
        assert len(_distinct(group)) <= 2**bits


@every_technique
def test_a_weight_of_zeros_stays_zero(technique: Technique):
    weight, inputs = layer()
    result = technique.quantize(torch.zeros_like(weight), inputs, technique.bits[0])
    assert torch.equal(result, torch.zeros_like(weight))


@every_technique
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(technique: Technique, bad):
    weight, inputs = layer()
    weight[2, 5] = bad
    with pytest.raises(ValueError, match=r"inf or nan|not finite"):
        technique.quantize(weight, inputs, technique.bits[0])


@every_technique
def test_an_empty_weight_is_refused(technique: Technique):
    with pytest.raises(ValueError):
        technique.quantize(torch.empty(0, D_IN), layer()[1], technique.bits[0])


@every_technique
def test_bits_out_of_range_are_refused(technique: Technique):
    for bits in technique.refused_bits:
        with pytest.raises(ValueError, match=f"bits .*{bits}"):
            technique.quantize(*layer(), bits)


@with_inputs
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_calibration_inputs_that_are_not_finite_are_refused(technique: Technique, bad):
    weight, inputs = layer()
    inputs[7, 3] = bad
    with pytest.raises(ValueError, match=r"inf or nan|not finite"):
        technique.quantize(weight, inputs, technique.bits[0])


@with_inputs
def test_no_calibration_inputs_are_refused(technique: Technique):
    weight, inputs = layer()
    with pytest.raises(ValueError):
        technique.quantize(weight, inputs[:0], technique.bits[0])


def _distinct(values: torch.Tensor) -> list[float]:
    """Values that differ by more than float64's rounding."""
    kept: list[float] = []
    for value in values.sort().values.tolist():
        if not kept or value - kept[-1] > 1e-12 * max(1.0, abs(value)):
            kept.append(value)
    return kept
