"""Quantization-aware training: round while training, so that the weights learn to bear it.

`prepare` puts a QatLayer where each Conv2d and Linear stands. It computes in floats what an integer
kernel will compute: input, weight and bias on their grids. Any loop trains the result; gradients
pass the rounding straight through (ste.py, lsq.py). `qat_convert.py` then makes the integers.

    y = conv(Q_x(x), Q_w(W gamma / sigma)) (sigma / sigma_B) + Q_b(b_B)         training
    y = conv(Q_x(x), Q_w(W gamma / sigma)) + Q_b(b)                             eval, norm frozen
    b = beta + (bias - mean) gamma / sigma         sigma, mean: running; sigma_B, mean_B: this batch

The weight that is rounded is the one that inference will have, with batch norm folded in. Rounding
uses the running sigma, which moves slowly, and the output is corrected to the batch's; freezing the
norm makes training and inference the same function.

Source    Jacob et al., CVPR 2018, arXiv:1712.05877, section 3; Krishnamoorthi 2018,
          arXiv:1806.08342 (the correction, freezing).
Differs   The bias is rounded in training, too: with coarse steps s_x s_w it matters, and eval is
          bit for bit what `convert` gives.
Left out  Additions, pooling, softmax and norms that follow no convolution stay in float.
Read      static.py, batch_norm.py, observers.py first; lsq.py and pact.py for learned grids.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reference import walk
from reference.quantization.affine import Grid, fake_quantize
from reference.quantization.batch_norm import Folded, NormStatistics, fold, foldable
from reference.quantization.integer import grid_with_room_for_bias, quantize_bias
from reference.quantization.observers import observed_activation, observed_weight
from reference.quantization.ste import straight_through


@runtime_checkable
class FakeQuantizer(Protocol):
    """A module that rounds to a grid: ObservedQuantizer, LsqQuantizer, PactQuantizer."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def grid(self) -> Grid: ...

    def freeze_(self, frozen: bool) -> None: ...


@dataclass(frozen=True)
class LayerConfig:
    """How the quantizers of one layer are made; fix bits and the like with functools.partial."""

    weight: Callable[[Tensor], FakeQuantizer] = observed_weight
    activation: Callable[[Sequence[Tensor]], FakeQuantizer] = observed_activation


@dataclass(frozen=True)
class Stage:
    quantizing: bool = True  # else the float network runs, and the observers watch
    norms_frozen: bool = False  # running statistics are used, and no longer move
    grids_frozen: bool = False


@dataclass(frozen=True)
class Schedule:
    """When each part of QAT begins, counted in training steps. None is never."""

    quantize_from: int = 0
    freeze_norms_at: int | None = None
    freeze_grids_at: int | None = None

    def __post_init__(self) -> None:
        for name in ("quantize_from", "freeze_norms_at", "freeze_grids_at"):
            step = getattr(self, name)
            if step is not None and step < 0:
                raise ValueError(f"{name} is step {step}; the first step is 0")

    def stage(self, step: int) -> Stage:
        norms, grids = (
            at is not None and step >= at for at in (self.freeze_norms_at, self.freeze_grids_at)
        )
        return Stage(step >= self.quantize_from, norms, grids)


class QatLayer(nn.Module):
    """A layer, and the batch norm after it, as the integer kernel that they will become."""

    def __init__(
        self,
        layer: walk.Layer,
        norm: nn.BatchNorm2d | None,
        input_quantizer: FakeQuantizer,
        weight_quantizer: FakeQuantizer,
    ) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm
        self.input_quantizer, self.weight_quantizer = input_quantizer, weight_quantizer
        self.stage = Stage()

    def set_stage_(self, stage: Stage) -> None:
        self.stage = stage
        self.input_quantizer.freeze_(stage.grids_frozen)
        self.weight_quantizer.freeze_(stage.grids_frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "QatLayer":
        super().train(mode)
        if self.norm is not None and self.stage.norms_frozen:
            self.norm.eval()
        return self

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        rounded = self.input_quantizer(x)  # the observer watches, whether the result is used or not
        if not self.stage.quantizing:
            y = self.layer(x)
            return y if self.norm is None else self.norm(y)
        if self.norm is not None and self.norm.training:
            return self._with_batch_statistics(rounded, self.norm)
        weight, bias = self.inference_weight()
        return self._apply(rounded, *self._rounded(weight, bias))

    def inference_weight(self) -> Folded:
        """The weight and bias in float, the norm's running statistics folded in."""
        if self.norm is None:
            return Folded(self.layer.weight, self.layer.bias)
        norm = self.norm
        return fold(
            *_parameters(self.layer), _statistics(norm, norm.running_mean, norm.running_var)
        )

    def _with_batch_statistics(self, x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        y = self._apply(x, *_parameters(self.layer))
        norm(y.detach())  # moves the running statistics
        mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
        bias = fold(*_parameters(self.layer), _statistics(norm, mean, variance)).bias
        weight, bias = self._rounded(self.inference_weight().weight, bias)
        correction = ((norm.running_var + norm.eps) / (variance + norm.eps)).sqrt()
        y = self._apply(x, weight, None) * correction.reshape(-1, 1, 1)
        return y + bias.reshape(-1, 1, 1)

    def _rounded(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Both as the integer kernel will have them."""
        rounded = self.weight_quantizer(weight)
        if bias is None:
            return rounded, None
        input_scale, grid = self.input_quantizer.grid().scale, self.weight_quantizer.grid()
        wide = grid_with_room_for_bias(grid, input_scale, bias.detach())
        if not torch.equal(wide.scale, grid.scale):
            rounded = straight_through(rounded, fake_quantize(weight.detach(), wide))
        codes = quantize_bias(bias.detach(), input_scale, wide.scale)
        values = (codes * (input_scale * wide.scale).reshape(-1)).to(bias.dtype)
        return rounded, straight_through(bias, values)

    def _apply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, weight, bias)
        return self.layer._conv_forward(x, weight, bias)


def prepare(
    model: nn.Module,
    batches: Sequence[Float[Tensor, "_ ..."]],
    config: LayerConfig = LayerConfig(),
    overrides: Mapping[str, LayerConfig | None] | None = None,
) -> nn.Module:
    """A copy to train, its grids begun from calibration batches. The model is not modified.

    Args:
        overrides: layers by name that are made in another way, or with None stay in float.

    Raises:
        ValueError: no batches, a layer that no batch reaches, an override of no layer, or a
            quantizer that refuses what it saw.
    """
    prepared = copy.deepcopy(model)
    layers, norms = walk.named_layers(prepared), foldable(prepared)
    unknown = sorted(set(overrides or {}) - set(layers))
    if unknown:
        raise ValueError(f"no layers {unknown} to override; there are {sorted(layers)}")
    configs = dict.fromkeys(layers, config) | dict(overrides or {})
    chosen = {name: each for name, each in configs.items() if each is not None}
    inputs = walk.layer_inputs(prepared, chosen, batches)
    for name, each in chosen.items():
        norm = prepared.get_submodule(norms[name]) if name in norms else None
        walk.replace_(prepared, name, _qat_layer(layers[name], norm, inputs[name], each))
        if norm is not None:
            walk.replace_(prepared, norms[name], nn.Identity())
    return prepared


def set_stage_(model: nn.Module, stage: Stage) -> None:
    """Call it before each step with schedule.stage(step). What came before does not matter."""
    for layer in qat_layers(model).values():
        layer.set_stage_(stage)


def qat_layers(model: nn.Module) -> dict[str, QatLayer]:
    """
    Raises:
        ValueError: there is none.
    """
    layers = {name: each for name, each in model.named_modules() if isinstance(each, QatLayer)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no QatLayer; prepare() it first")
    return layers


def _qat_layer(
    layer: walk.Layer, norm: nn.BatchNorm2d | None, inputs: Sequence[Tensor], config: LayerConfig
) -> QatLayer:
    weight = layer.weight
    if norm is not None:
        statistics = _statistics(norm, norm.running_mean, norm.running_var)
        weight = fold(*_parameters(layer), statistics).weight
    made = QatLayer(layer, norm, config.activation(inputs), config.weight(weight.detach()))
    return made.train(layer.training)


def _parameters(layer: walk.Layer) -> tuple[Tensor, Tensor | None]:
    return layer.weight, layer.bias


def _statistics(
    norm: nn.BatchNorm2d, mean: Tensor | None, variance: Tensor | None
) -> NormStatistics:
    """As batch_norm.statistics, with gradients, and with the statistics given."""
    if mean is None or variance is None:
        raise ValueError("batch norm with track_running_stats=False has nothing to fold")
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias
    return NormStatistics(gamma, beta, mean, variance, norm.eps)
