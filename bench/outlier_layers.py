"""Layers as language models have them, and what a handful of methods lose on them."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from reference.quantization.affine import tensor_range
from reference.quantization.awq import AwqConfig, awq
from reference.quantization.gptq import GptqConfig, gptq
from reference.quantization.packed_weight import WeightOnlyConfig, pack_weight, unpack_weight
from reference.quantization.smoothquant import smooth_scale, w8a8
from reference.statistics import InputStatistics, input_statistics

SEEDS = range(8)


class OutlierLayer(NamedTuple):
    weight: Float[Tensor, "d_out d_in"]
    inputs: Float[Tensor, "tokens d_in"]
    held_out: Float[Tensor, "tokens d_in"]

    @property
    def statistics(self) -> InputStatistics:
        return input_statistics([self.inputs])

    def relative_error(self, rounded: Tensor) -> float:
        """Squared output error on the tokens held out, as a share of the output."""
        exact = self.held_out @ self.weight.T
        return ((self.held_out @ rounded.T - exact).square().sum() / exact.square().sum()).item()


def outlier_layer(
    seed: int, d_out: int = 128, d_in: int = 256, tokens: int = 1024, rank: int = 48
) -> OutlierLayer:
    """Inputs of some rank plus noise, four channels of them twenty times as large, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mixing = normal(rank, d_in) / rank**0.5
    x = normal(2 * tokens, rank) @ mixing + 0.1 * normal(2 * tokens, d_in)
    x[:, torch.randperm(d_in, generator=generator)[:4]] *= 20
    return OutlierLayer(normal(d_out, d_in) / d_in**0.5, *x.split(tokens))


def anchors() -> list[dict[str, float | str]]:
    """Mean relative output error over eight layers, and the largest ratio to doing nothing."""
    layers = [outlier_layer(seed) for seed in SEEDS]
    rows: list[dict[str, float | str]] = []
    for bits in (4, 3, 2):
        stored = WeightOnlyConfig(bits, 64)
        plain = [each.relative_error(_nearest(each, stored)) for each in layers]
        rows.append(_row(f"{bits} bits, nearest", plain, plain))
        for name, method in METHODS.items():
            errors = [each.relative_error(method(each, stored)) for each in layers]
            rows.append(_row(f"{bits} bits, {name}", errors, plain))
    plain = [_eight_bits(each, None) for each in layers]
    rows.append(_row("W8A8, plain", plain, plain))
    for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
        errors = [_eight_bits(each, alpha) for each in layers]
        rows.append(_row(f"W8A8, SmoothQuant {alpha}", errors, plain))
    return rows


def _row(method: str, errors: list[float], plain: list[float]) -> dict[str, float | str]:
    ratios = [error / base for error, base in zip(errors, plain, strict=True)]
    mean = sum(errors) / len(errors)
    return {
        "method": method,
        "error": mean,
        "to nearest": sum(ratios) / len(ratios),
        "most": max(ratios),
    }


def _nearest(layer: OutlierLayer, stored: WeightOnlyConfig) -> Tensor:
    return unpack_weight(pack_weight(layer.weight, stored)).double()


def _eight_bits(layer: OutlierLayer, alpha: float | None) -> float:
    x, weight = layer.held_out, layer.weight
    scale = None if alpha is None else smooth_scale(layer.statistics, [weight], alpha)
    exact = x @ weight.T
    error = (w8a8(x, weight, tensor_range, scale) - exact).square().sum()
    return (error / exact.square().sum()).item()


def _awq(layer: OutlierLayer, stored: WeightOnlyConfig) -> Tensor:
    return awq([layer.weight], layer.statistics, AwqConfig(stored)).weights[0]


def _gptq(layer: OutlierLayer, stored: WeightOnlyConfig) -> Tensor:
    return gptq(layer.weight, layer.statistics, GptqConfig(stored)).weight


def _ordered(layer: OutlierLayer, stored: WeightOnlyConfig) -> Tensor:
    return gptq(layer.weight, layer.statistics, GptqConfig(stored, act_order=True)).weight


METHODS = {"AWQ": _awq, "GPTQ": _gptq, "GPTQ, act-order": _ordered}
