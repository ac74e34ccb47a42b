"""The width of the residual stream: features that every layer reads and writes.

    score        sum over norms of E |norm(x)_i|                       over tokens; Minitron's

What a smaller width computes depends on the norms, whose statistics are over the features that are
left. The masked model is what the smaller one equals, exactly:

    RMSNorm      removed features of the stream are zero, and norms are as they were. With d of
                 width and d' left, sum x^2 / d = (d'/d) sum x^2 / d', so the smaller norm has
                 w sqrt(d / d') for w, and eps d / d' for eps.
    LayerNorm    mean and variance are of the kept features alone: the function changes, and no
                 choice of w and b prevents it. Zeros in the stream are another model again.

Source    Muralidharan et al., "Compact Language Models via Pruning and Knowledge Distillation",
          2024, arXiv:2407.14679 (Minitron).
Differs   Minitron cuts RMSNorm's weights without the factor and trains it back.
Left out  Rotating the stream first (SliceGPT, Ashkboos et al., 2024).
Read      remove_transformer.py cuts the matrices.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reference import walk
from reference.pruning.structured.architecture import all_norms, architecture, stream_width
from reference.pruning.structured.gates import gated
from reference.pruning.structured.slices import Kept, cut_norm_
from reference.pruning.structured.tokens import rows


def norm_activation(model: nn.Module, batches: Sequence[walk.Batch]) -> Float[Tensor, " width"]:
    """Each feature's mean |output|, summed over norms. Raises ValueError without batches."""
    if not batches:
        raise ValueError("activations are seen on at least one batch, got none")
    norms = all_norms(architecture(model))
    total, tokens = 0, 0
    for batch in batches:
        leaving = walk.outputs(model, norms, [batch])
        seen = torch.stack([rows(leaving[name][0], batch).abs() for name in norms])
        total, tokens = total + seen.sum((0, 1)), tokens + seen.shape[1]
    return total / tokens


def random(model: nn.Module, generator: torch.Generator) -> Float[Tensor, " width"]:
    """The control: what a score must beat."""
    return torch.rand(stream_width(model), generator=generator)


@contextmanager
def masked_width(model: nn.Module, mask: Bool[Tensor, " width"]) -> Iterator[None]:
    """Inside, the model computes what it will without the removed features.

    Raises:
        ValueError: not one entry for each feature, or nothing is kept.
    """
    found = architecture(model)
    kept = check_width(model, mask)
    norms = {name: model.get_submodule(name) for name in all_norms(found)}
    zeroed = [name for name, norm in norms.items() if not isinstance(norm, nn.LayerNorm)]
    if found.pooler and found.pooler_follows:
        zeroed += found.heads
    handles = [
        norm.register_forward_hook(partial(_of_kept, kept))
        for norm in norms.values()
        if isinstance(norm, nn.LayerNorm)
    ]
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        stack.enter_context(gated(model, dict.fromkeys(zeroed, mask)))
        yield


def check_width(model: nn.Module, mask: Bool[Tensor, " width"]) -> Kept:
    """The positions that a mask keeps.

    Raises:
        ValueError: not one entry for each feature, or nothing is kept.
    """
    width = stream_width(model)
    if mask.shape != (width,):
        raise ValueError(f"a stream of {width} features needs a mask of {width}, got {len(mask)}")
    if not mask.any():
        raise ValueError(f"the mask keeps none of {width} features")
    return mask.nonzero().flatten()


@torch.no_grad()
def cut_stream_norm_(norm: nn.Module, kept: Kept) -> None:
    """A norm over the kept features; RMSNorm as if the others were there and zero.

    Raises:
        ValueError: the norm is neither LayerNorm nor RMSNorm.
    """
    times = len(norm.weight) / len(kept)
    cut_norm_(norm, kept)
    if isinstance(norm, nn.LayerNorm):
        return
    if not hasattr(norm, "variance_epsilon"):
        raise ValueError(f"{type(norm).__name__} is neither LayerNorm nor Llama's RMSNorm")
    norm.weight.mul_(math.sqrt(times))
    norm.variance_epsilon *= times


def _of_kept(kept: Kept, norm: Any, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    kept = kept.to(output.device)
    weight, bias = norm.weight[kept], norm.bias[kept] if norm.bias is not None else None
    found = F.layer_norm(arguments[0][..., kept], (len(kept),), weight, bias, norm.eps)
    return torch.zeros_like(output).index_copy(-1, kept, found)
