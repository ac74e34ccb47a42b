from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported import NO_FUSION, exported, initializers, relative_noise, run
from nets import images, resnet
from onnx import numpy_helper
from torch import nn

from labkit.models import MlpSpec, build
from reference.quantization.affine import asymmetric_grid, dequantize, symmetric_grid
from reference.quantization.batch_norm import fold_model
from reference.quantization.calibration import min_max, percentile
from reference.quantization.onnx_qdq import collect_ranges, quantize_onnx, quantized_tensors
from reference.quantization.static import StaticConfig, execute, quantize_layer, quantize_static


@pytest.fixture(scope="module")
def folded():
    torch.manual_seed(0)
    return fold_model(resnet(width=16))


@pytest.fixture(scope="module")
def float_model(folded):
    return exported(folded, images())


@pytest.fixture(scope="module")
def batches():
    torch.manual_seed(1)
    return [images(8), images(8)]


@pytest.fixture(scope="module")
def ranges(float_model, batches):
    return collect_ranges(float_model, batches)


@pytest.fixture(scope="module")
def int8_model(float_model, ranges):
    return quantize_onnx(float_model, ranges)


def test_model_is_valid_onnx(int8_model):
    onnx.checker.check_model(int8_model, full_check=True)


def test_logits_stay_close_to_the_float_model(float_model, int8_model, batches):
    noise = relative_noise(run(int8_model, batches[0]), run(float_model, batches[0]))
    assert noise < 0.01  # 20 dB; each of 9 layers adds about 1e-4 at 8 bits


def test_other_activation_grids_stay_close_too(float_model, ranges, batches):
    for grid in (partial(asymmetric_grid, signed=True), symmetric_grid):
        model = quantize_onnx(float_model, ranges, grid)
        assert relative_noise(run(model, batches[0]), run(float_model, batches[0])) < 0.01


def test_runtime_fuses_every_layer_into_an_integer_kernel(int8_model, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(
        int8_model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert kinds.count("QLinearConv") == 1 + 3 * 2 + 2
    assert kinds.count("QLinearAdd") == 3
    assert kinds.count("QGemm") == 1
    assert not {"Conv", "FusedConv", "Gemm", "Add", "Relu"} & set(kinds)


def test_weights_are_int8_and_biases_int32_and_no_float_copy_is_left(float_model, int8_model):
    stored = initializers(int8_model)
    for name, value in initializers(float_model).items():
        if name.endswith("weight"):
            assert stored[name].dtype == np.int8
            assert stored[name].shape == value.shape
        elif name.endswith("bias"):
            assert stored[name].dtype == np.int32
    floats = [name for name, value in stored.items() if value.dtype == np.float32]
    assert all(name.endswith("_scale") for name in floats)


def test_codes_and_grids_are_those_of_static_quantization(folded, int8_model, ranges):
    stored = initializers(int8_model)
    node = next(node for node in int8_model.graph.node if node.op_type == "Gemm")
    activation = node.input[0].removesuffix("_dequantized")
    layer = quantize_layer(folded.head, asymmetric_grid(ranges[activation]))
    assert np.array_equal(stored["head.weight"], layer.weight.numpy())
    assert np.array_equal(stored["head.bias"], layer.bias.numpy())


def test_bias_step_is_the_product_of_the_steps_of_input_and_weight(int8_model):
    stored = initializers(int8_model)
    for node in int8_model.graph.node:
        if node.op_type == "Conv":
            x, weight, bias = (name.removesuffix("_dequantized") for name in node.input)
            expected = stored[f"{x}_scale"] * stored[f"{weight}_scale"]
            assert np.array_equal(stored[f"{bias}_scale"], expected)


def test_only_what_is_read_by_a_layer_an_addition_or_a_pooling_has_a_grid(float_model):
    names = set(quantized_tensors(float_model))
    outputs = {name: node.op_type for node in float_model.graph.node for name in node.output}
    readers = [node for node in float_model.graph.node if node.op_type == "Relu"]
    assert "images" in names
    assert float_model.graph.output[0].name not in names
    # what a ReLU alone reads is rounded after it
    assert not names & {node.input[0] for node in readers}
    assert {outputs.get(name) for name in names} == {None, "Relu", "Conv", "ReduceMean"}


def test_ranges_are_those_of_the_torch_model(folded, ranges, batches):
    stem = torch.relu(folded.stem(torch.cat(batches))).detach()
    high = max(value for value in ranges["relu"])
    assert high.item() == pytest.approx(stem.max().item(), rel=1e-5)  # float32 sums, another order
    assert ranges["images"] == min_max(batches)


def test_any_calibrator_serves(float_model, batches):
    narrow = collect_ranges(float_model, batches, partial(percentile, percent=99.0))
    wide = collect_ranges(float_model, batches)
    assert all(narrow[name].high <= wide[name].high for name in wide)


def test_multilayer_perceptron_is_quantized_too():
    model, x = build(MlpSpec(64, (32, 16))).eval(), torch.randn(8, 64)
    floats = exported(model, x)
    int8 = quantize_onnx(floats, collect_ranges(floats, [x]))
    onnx.checker.check_model(int8, full_check=True)
    assert relative_noise(run(int8, x), run(floats, x)) < 0.01


def test_matmul_weight_is_quantized_along_its_columns():
    x = torch.randn(8, 6)
    weight = torch.randn(6, 4) * torch.tensor([1e-3, 1.0, 10.0, 100.0])
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    entries = [onnx.helper.make_tensor_value_info(name, 1, None) for name in "xy"]
    graph = onnx.helper.make_graph(
        [node], "product", entries[:1], entries[1:], [numpy_helper.from_array(weight.numpy(), "w")]
    )
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    int8 = quantize_onnx(model, collect_ranges(model, [x]))
    expected = (x @ weight).numpy()
    assert all(relative_noise(run(int8, x)[:, i], expected[:, i]) < 1e-3 for i in range(4))


def test_float_model_is_not_modified(float_model, ranges):
    before = float_model.SerializeToString()
    quantize_onnx(float_model, ranges)
    assert float_model.SerializeToString() == before


def test_file_is_smaller_by_what_the_bytes_say(float_model, int8_model):
    weights = [value for value in initializers(float_model).values() if value.dtype == np.float32]
    payload = sum(value.size for value in weights)
    assert int8_model.ByteSize() < payload + 60_000  # a byte each; graph, steps and biases
    assert int8_model.ByteSize() > payload


def test_missing_ranges_old_opsets_and_shared_weights_are_refused(float_model, ranges):
    with pytest.raises(ValueError, match=r"no range for \['images'\]"):
        quantize_onnx(float_model, {name: r for name, r in ranges.items() if name != "images"})
    old, shared = onnx.ModelProto(), onnx.ModelProto()
    old.CopyFrom(float_model)
    old.opset_import[0].version = 12
    with pytest.raises(ValueError, match="opset is 12"):
        quantize_onnx(old, ranges)
    shared.CopyFrom(float_model)
    shared.graph.node.extend([node for node in float_model.graph.node if node.op_type == "Gemm"])
    with pytest.raises(ValueError, match="read by two layers"):
        quantize_onnx(shared, ranges)


def test_dequantized_weights_are_the_float_weights_to_half_a_step(folded, int8_model):
    stored = initializers(int8_model)
    layer = quantize_layer(folded.stem.conv, asymmetric_grid(min_max([images()])))
    restored = dequantize(torch.tensor(stored["stem.conv.weight"]), layer.weight_grid)
    error = (restored - folded.stem.conv.weight).abs()
    assert (error <= layer.weight_grid.scale * 0.5001).all()


def chain() -> nn.Module:
    """Layers that read what one layer made: what static.py and this file quantize is the same."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 7 * 7, 20), nn.ReLU(), nn.Linear(20, 10),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("signed", [False, True])
def test_unfused_file_computes_what_static_quantization_simulates(signed):
    model, x = chain(), images(16)
    config = StaticConfig(activation_grid=partial(asymmetric_grid, signed=signed))
    simulated = quantize_static(model, [x], config)
    floats = exported(model, x)
    file = quantize_onnx(floats, collect_ranges(floats, [x]), config.activation_grid)
    found, expected = run(file, x, NO_FUSION), simulated.model(x).detach().numpy()
    # Float32 sums in another order turn a code at a tie by one step: of its thousands of codes a
    # layer loses a few, each worth one step of about 1/100 of the signal, among hundreds of inputs.
    rounding = relative_noise(expected, model(x).detach().numpy())
    assert relative_noise(found, expected) < 0.01 * rounding


def test_fused_integer_kernels_stay_within_a_step_of_the_simulation():
    """Fusion rescales sums in integers or float32, and may turn ties in every layer."""
    model, x = chain(), images(16)
    simulated = quantize_static(model, [x])
    floats = exported(model, x)
    file = quantize_onnx(floats, collect_ranges(floats, [x]))
    expected = simulated.model(x).detach().numpy()
    head = simulated.layers["7"]
    # one code of the head's input, turned, moves a logit by s_x s_w |q_w|: at most s_x max |w|
    step = head.input_grid.scale.item() * model[7].weight.abs().max().item()
    assert np.abs(run(file, x) - expected).max() <= step


@pytest.mark.parametrize("count", [1, 7])
def test_one_layer_in_torch_integers_and_onnx_gives_the_same_codes_to_one_step(count):
    model, x = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)).eval(), images(count)
    floats = exported(model, x)
    ranges = collect_ranges(floats, [x])
    file = quantize_onnx(floats, ranges)
    result = quantize_static(model, [x])
    integers = execute(model[0], result.layers["0"], x).numpy()
    simulated = result.model(x).detach().numpy()
    # float32: 27 products and a bias, each of relative error 6e-8, around 1
    assert np.abs(integers - simulated).max() < 27 * 1.2e-7 * np.abs(simulated).max()
    assert np.abs(run(file, x) - integers).max() < 27 * 1.2e-7 * np.abs(integers).max()


def test_a_channel_with_hardly_any_weight_keeps_its_bias():
    """A batch norm whose gamma has died leaves such channels."""
    convolution = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        convolution.weight[1] *= 1e-9
        convolution.bias.copy_(torch.tensor([0.3, 0.7, -0.2, 0.1]))
    x = images()
    model = exported(convolution.eval(), x)
    output = run(quantize_onnx(model, collect_ranges(model, [x])), x)
    assert np.abs(output[:, 1] - 0.7).max() < 1e-6
