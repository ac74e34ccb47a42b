"""How much the model loses when one layer is rounded and all others stay in float.

    metric drop        metric(model) - metric(model with W_l rounded)             what one cares for
    output error       |y_l - y~_l|^2 / |y_l|^2                                    SQNR = -10 log10
    logit divergence   mean KL(p || p~) of the model's answers                     no labels needed

The first is what counts and is noisy; the third is smooth, sees the whole model, and any unlabelled
batch serves.

Source    Nagel et al., "A White Paper on Neural Network Quantization", 2021, arXiv:2106.08295,
          section 3.6 (one layer at a time); Cai et al., "ZeroQ", CVPR 2020, arXiv:2001.00281,
          section 3.2 (the divergence of the outputs); Pandey et al., "A Practical Mixed Precision
          Algorithm for Post-Training Quantization", 2023, arXiv:2302.05397 (SQNR of outputs).
Differs   The order of widths and layers is the caller's; nothing is sampled.
Left out  Activations in few bits; rounding everything but one layer.
Read      options.py first; curvature.py needs no run per width.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from reference import walk
from reference.quantization.mixed.options import Option, Options

Losses = Float[Tensor, "layers widths"]


def metric_drop(model: nn.Module, options: Options, metric: Callable[[nn.Module], float]) -> Losses:
    """How far a metric falls; higher is better, and a gain is a negative loss."""
    before = metric(model)

    def drop(name: str, option: Option) -> float:
        layer = model.get_submodule(name)
        kept = layer.weight.data
        try:
            layer.weight.data = option.weight
            return before - metric(model)
        finally:
            layer.weight.data = kept

    return _table(options, drop)


@torch.no_grad()
def output_error(model: nn.Module, options: Options, batches: Sequence[Tensor]) -> Losses:
    """Squared error of each layer's own output, as a share of the output."""
    inputs = walk.layer_inputs(model, options, batches)

    def error(name: str, option: Option) -> float:
        layer = model.get_submodule(name)
        exact = [layer(x) for x in inputs[name]]
        rounded = [functional_call(layer, {"weight": option.weight}, (x,)) for x in inputs[name]]
        noise = sum((a - b).square().sum() for a, b in zip(rounded, exact, strict=True))
        return (noise / sum(y.square().sum() for y in exact).clamp(min=1e-30)).item()

    return _table(options, error)


@torch.no_grad()
def logit_divergence(model: nn.Module, options: Options, batches: Sequence[Tensor]) -> Losses:
    """Mean KL divergence in nats, from the float model's answers to the rounded one's.

    Raises:
        ValueError: there is no batch.
    """
    if not batches:
        raise ValueError("sensitivity needs at least one batch, got none")
    with walk.evaluating(model):
        exact = [_log_probabilities(model(batch)) for batch in batches]

        def divergence(name: str, option: Option) -> float:
            changed = {f"{name}.weight": option.weight}
            parts = [
                F.kl_div(
                    _log_probabilities(functional_call(model, changed, (batch,))),
                    answer,
                    reduction="none",
                    log_target=True,
                ).sum(-1)
                for batch, answer in zip(batches, exact, strict=True)
            ]
            return torch.cat([part.flatten() for part in parts]).mean().item()

        return _table(options, divergence)


def _log_probabilities(output: object) -> Tensor:
    logits = output if isinstance(output, Tensor) else output.logits
    return logits.double().log_softmax(-1)


def _table(options: Options, loss: Callable[[str, Option], float]) -> Losses:
    if not options:
        raise ValueError("there is no layer to measure")
    rows = [[loss(name, each) for each in widths] for name, widths in options.items()]
    return torch.tensor(rows, dtype=torch.float64)
