"""Weight-only and dynamic files: the numbers of the torch models, computed by ONNX Runtime."""

import numpy as np
import onnx
import pytest
import torch
from exported import ALL_FUSIONS, NO_FUSION, exported, initializers, operators, relative_noise, run
from torch import nn

from reference.quantization.affine import asymmetric_grid, full_symmetric_grid, symmetric_grid
from reference.quantization.dynamic import quantize_dynamic
from reference.quantization.onnx_dynamic import quantize_onnx_dynamic
from reference.quantization.onnx_weights import quantize_onnx_weights
from reference.quantization.packed_weight import WeightOnlyConfig, pack_weight
from reference.quantization.weight_only import round_weights


class Mixer(nn.Module):
    """Products over three axes, which are exported as MatMul, and a Gemm at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 128)
        self.second = nn.Linear(128, 64, bias=False)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.second(torch.relu(self.first(x)))
        return self.head(x.mean(1))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Mixer().eval()


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(4, 6, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def floats(model, x) -> onnx.ModelProto:
    return exported(model, x)


@pytest.mark.parametrize("make_grid", [asymmetric_grid, symmetric_grid, full_symmetric_grid])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("group", [16, 64])
def test_file_computes_what_the_rounded_model_does(floats, model, x, bits, group, make_grid):
    config = WeightOnlyConfig(bits, group, make_grid)
    file = quantize_onnx_weights(floats, config, accuracy_level=1)
    expected = round_weights(model, config)(x).detach().numpy()
    # float32: three layers of up to 128 products in another order, 6e-8 each
    np.testing.assert_allclose(run(file, x), expected, rtol=0, atol=3 * 128 * 6e-8 * 2)


def test_every_linear_layer_is_packed_and_no_float_copy_is_left(floats):
    file = quantize_onnx_weights(floats)
    assert operators(file).count("MatMulNBits") == 3
    assert not {"MatMul", "Gemm"} & set(operators(file))
    codes = [value for value in initializers(file).values() if value.dtype == np.uint8]
    assert sum(value.size for value in codes) == (2 * 64 * 128 + 640) * (4 + 4 / 32) / 8
    floats_left = [v for v in initializers(file).values() if v.dtype == np.float32 and v.ndim == 2]
    assert sum(value.size for value in floats_left) == (2 * 64 * 128 + 640) // 32  # the steps


def test_codes_in_the_file_are_those_of_the_packed_weight(floats, model):
    config = WeightOnlyConfig(4, 32)
    stored = initializers(quantize_onnx_weights(floats, config))
    packed = pack_weight(model.head.weight.detach(), config)
    name = next(name for name in stored if name.endswith("codes") and len(stored[name]) == 10)
    assert np.array_equal(stored[name].reshape(10, -1), packed.codes.numpy())


def test_kernel_that_rounds_activations_adds_an_8_bit_error_and_no_more(floats, model, x):
    config = WeightOnlyConfig(4, 32)
    exact = round_weights(model, config)(x).detach().numpy()
    noise = relative_noise(run(quantize_onnx_weights(floats, config), x), exact)
    assert 0 < noise < 0.01  # 20 dB; each of 3 layers adds about 1e-4 at 8 bits


@pytest.mark.parametrize("level", [NO_FUSION, ALL_FUSIONS])
def test_dynamic_file_computes_what_the_dynamic_model_does(floats, model, x, level):
    file = quantize_onnx_dynamic(floats)
    onnx.checker.check_model(file, full_check=True)
    expected = quantize_dynamic(model)(x).detach().numpy()
    found = run(file, x, level)
    # The grid of a later layer follows float32 sums in another order, so a code at a tie may turn:
    # a hundredth of what rounding itself costs, 40 dB below a noise of 1e-4.
    rounding = relative_noise(expected, model(x).detach().numpy())
    assert relative_noise(found, expected) < 0.01 * rounding


def test_dynamic_layer_alone_is_the_same_in_integers_and_in_onnx():
    linear, x = nn.Linear(64, 16).eval(), torch.randn(5, 64)
    file = quantize_onnx_dynamic(exported(linear, x))
    expected = quantize_dynamic(nn.Sequential(linear))(x).detach().numpy()
    # the integers agree; a float32 scale, its product and the bias round by 6e-8 each
    np.testing.assert_allclose(run(file, x), expected, rtol=0, atol=1e-6)


def test_dynamic_weights_are_a_byte_each(floats):
    file = quantize_onnx_dynamic(floats)
    sizes = [v.nbytes for v in initializers(file).values() if v.dtype == np.int8]
    assert sum(sizes) == 2 * 64 * 128 + 640
    assert operators(file).count("MatMulInteger") == 3


@pytest.mark.parametrize("quantize", [quantize_onnx_weights, quantize_onnx_dynamic])
def test_float_model_is_not_modified_and_must_have_a_linear_layer(floats, quantize):
    before = floats.SerializeToString()
    quantize(floats)
    assert floats.SerializeToString() == before
    with pytest.raises(ValueError, match="no product with a constant weight"):
        quantize(exported(nn.ReLU(), torch.randn(2, 3)))


@pytest.mark.parametrize(("bits", "granularity"), [(3, 32), (4, 8), (4, "channel")])
def test_what_the_operator_does_not_take_is_refused(floats, bits, granularity):
    with pytest.raises(ValueError, match="MatMulNBits takes"):
        quantize_onnx_weights(floats, WeightOnlyConfig(bits, granularity))


def test_rows_that_groups_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="48 inputs do not split into groups of 32"):
        quantize_onnx_weights(exported(nn.Linear(48, 4), torch.randn(2, 48)))
