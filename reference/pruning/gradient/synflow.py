"""SynFlow: how much of all that can flow through a network goes through one weight. No data.

The network is made linear and positive: every weight becomes its absolute value, the input is all
ones, ReLUs do nothing. What comes out is the sum over all paths of the product of their weights:

    R = 1' |W_L| ... |W_1| 1         s_j = |w_j| dR/d|w_j|         the share of R on paths through j

In a chain of layers, every path crosses each layer once, so the scores of each layer sum to R. A
layer with few weights left has large ones: taken in small steps, no layer is emptied while another
still has more than one weight, which is the most compression at which a network can be alive. In
one step that is not so.

Source    Tanaka et al., "Pruning neural networks without any data by iteratively conserving
          synaptic flow", NeurIPS 2020, arXiv:2006.05467; 100 steps are the authors'.
Differs   Biases and running means are zero in the linear network, so that the sums hold for any
          network of ReLUs; the authors' code takes |b|. Always in eval mode and in float64, for R
          is a product of layers and leaves float32; a copy is changed, never the model.
Left out  Networks that are not linear in a positive input (GELU, softmax, layer norm): refused.
Read      progressive.py first.
"""

import copy
import math
from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.pruning.gradient.derivatives import Named, scored_weights, telling
from reference.pruning.gradient.progressive import progressive_masks
from reference.pruning.masks import Masks, Scores, within
from reference.pruning.weights import masked

NOT_LINEAR = 1e-9  # float64 over some ten million terms


def synflow_scores(
    model: nn.Module, example: Float[Tensor, "batch ..."], spared: Collection[str] = ()
) -> Named:
    """|w| dR/d|w| of each weight, in float64.

    Args:
        example: an input of the model; only its shape counts.

    Raises:
        ValueError: nothing to score, a network that is not linear in ones, an R that is zero or
            not finite.
    """
    names = scored_weights(model, spared)
    linear, ones = linearised(model), _ones(example)
    _check(linear, ones)
    return telling(_flow(linear, ones, names))


def synflow_masks(
    model: nn.Module,
    example: Float[Tensor, "batch ..."],
    sparsity: float,
    steps: int = 100,
    spared: Collection[str] = (),
) -> Masks:
    """Global masks from the scores of ever sparser networks; what is removed stays so.

    Raises:
        ValueError: as `synflow_scores`; a sparsity that the steps do not reach; no step.
    """
    weights = scored_weights(model, spared)
    linear, ones = linearised(model), _ones(example)
    _check(linear, ones)

    def score(masks: Masks) -> Scores:
        return within(_flow(masked(linear, masks), ones, weights), masks)

    return progressive_masks(weights, score, sparsity, steps)


@torch.no_grad()
def linearised(model: nn.Module) -> nn.Module:
    """A copy in eval mode and float64 with |W| for W, and nothing added anywhere."""
    found = copy.deepcopy(model).double().eval()
    for module in found.modules():
        for name, parameter in module.named_parameters(recurse=False):
            parameter.zero_() if name == "bias" else parameter.abs_()
            parameter.requires_grad_()
        if isinstance(getattr(module, "running_mean", None), Tensor):
            module.running_mean.zero_()
    return found


def synaptic_flow(linear: nn.Module, ones: Float[Tensor, "1 ..."]) -> Float[Tensor, ""]:
    """R."""
    output = linear(ones)
    return getattr(output, "logits", output).sum()


def _flow(linear: nn.Module, ones: Tensor, names: Collection[str]) -> Named:
    weights = {name: linear.get_parameter(name) for name in names}
    with torch.enable_grad():
        found = torch.autograd.grad(
            synaptic_flow(linear, ones), list(weights.values()), materialize_grads=True
        )
    return {
        name: each.detach() * gradient
        for (name, each), gradient in zip(weights.items(), found, strict=True)
    }


def _ones(example: Tensor) -> Tensor:
    return torch.ones_like(example[:1], dtype=torch.float64)


@torch.no_grad()
def _check(linear: nn.Module, ones: Tensor) -> None:
    once, twice = (synaptic_flow(linear, factor * ones).item() for factor in (1, 2))
    if math.isfinite(once) and not abs(twice - 2 * once) <= NOT_LINEAR * abs(once):
        raise ValueError(
            f"an input of ones gives {once:g}, of twos {twice:g}: SynFlow needs a network that is "
            "linear in a positive input, of ReLUs, pooling and batch norm"
        )
    if not 0 < once < math.inf:
        raise ValueError(f"the flow of an input of ones is {once}; it must be finite, above zero")
