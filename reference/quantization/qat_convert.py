"""From fake quantization to integers: what training simulated, a kernel computes.

Every QatLayer becomes the record that static.py makes without training: the grid of the input, the
grid and codes of the weight, the codes of the bias. `static.simulate` computes it in floats,
`static.execute` in integers, and the model in eval mode has computed it all along.

Source    Jacob et al., CVPR 2018, arXiv:1712.05877, section 2.4.
Differs   See qat.py and static.py.
Left out  A file for a runtime: onnx_qdq.py.
Read      qat.py, static.py first.
"""

import copy

from jaxtyping import Float
from torch import Tensor, nn

from reference import walk
from reference.quantization.affine import quantize
from reference.quantization.integer import grid_with_room_for_bias, quantize_bias
from reference.quantization.qat import QatLayer, qat_layers
from reference.quantization.static import (
    QuantizedLayer,
    SimulatedLayer,
    StaticResult,
    execute,
    simulate,
)


class IntegerLayer(nn.Module):
    """A layer that multiplies codes, and rescales once. Floats in, floats out."""

    def __init__(self, geometry: walk.Layer, quantized: QuantizedLayer) -> None:
        super().__init__()
        self.geometry, self.quantized = geometry, quantized

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return execute(self.geometry, self.quantized, x).to(x.dtype)


def convert(model: nn.Module) -> StaticResult:
    """The layers as codes, and a copy of the model in eval mode that simulates them.

    Raises:
        ValueError: the model was not prepared, or a weight or a grid is not finite.
    """
    converted = copy.deepcopy(model).eval()
    layers = {}
    for name, layer in qat_layers(converted).items():
        layers[name] = quantized_layer(layer)
        walk.replace_(converted, name, simulate(_with_folded_bias(layer), layers[name]))
    return StaticResult(converted, layers)


def quantized_layer(layer: QatLayer) -> QuantizedLayer:
    """The codes of one layer, batch norm folded in by its running statistics."""
    weight, bias = layer.inference_weight()
    input_grid, weight_grid = layer.input_quantizer.grid(), layer.weight_quantizer.grid()
    if bias is not None:
        weight_grid = grid_with_room_for_bias(weight_grid, input_grid.scale, bias.detach())
        bias = quantize_bias(bias.detach(), input_grid.scale, weight_grid.scale)
    return QuantizedLayer(input_grid, weight_grid, quantize(weight.detach(), weight_grid), bias)


def integer_model(result: StaticResult) -> nn.Module:
    """A copy of the simulated model in which every quantized layer computes in integers."""
    model = copy.deepcopy(result.model)
    for name, quantized in result.layers.items():
        simulated = model.get_submodule(name)
        assert isinstance(simulated, SimulatedLayer)
        walk.replace_(model, name, IntegerLayer(simulated.layer, quantized))
    return model


def _with_folded_bias(layer: QatLayer) -> walk.Layer:
    """The layer with a place for the bias that folding may have added."""
    bias = layer.inference_weight().bias
    biased = copy.deepcopy(layer.layer)
    biased.bias = None if bias is None else nn.Parameter(bias.detach().clone())
    return biased
