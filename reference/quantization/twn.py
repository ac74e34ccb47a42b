"""Ternary weights: binary ones, and a zero for the weights that are neither.

    min over alpha, T in {-1, 0, +1}^n of ||w - alpha T||^2
    given a threshold D:  T = sign(w) 1[|w| > D]      alpha = mean of |w| above D
    error = ||w||^2 - (sum of |w| above D)^2 / (number above D)

The best D has no closed form, but only n candidates: sort |w| and keep the k largest, for every k.
The paper instead takes D = 0.7 E|w|, near the best for weights that are Gaussian (0.767) or uniform
(0.667).

Source    Li, Zhang and Liu, "Ternary Weight Networks", 2016, arXiv:1605.04711, section 2.
Differs   One alpha for each output channel; the paper has one for the layer.
Left out  Learned magnitudes, one for each sign (TTQ).
Read      affine.py, ste.py first. bitnet.py chooses the threshold by one scale; ternary_packing.py
          stores five codes in a byte.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reference.quantization.affine import widened
from reference.quantization.ste import straight_through

THRESHOLD = 0.7  # of E|w|


class Ternary(NamedTuple):
    """Channels of three values. The value is alpha * codes."""

    codes: Int[Tensor, "d_out ..."]  # -1, 0 or +1
    alpha: Float[Tensor, "d_out ..."]  # one for each channel: (8, 1, 1, 1)


def ternarize(weight: Float[Tensor, "d_out ..."], threshold: float = THRESHOLD) -> Ternary:
    """By the paper's threshold, a fraction of each channel's mean |w|.

    Raises:
        ValueError: the threshold is not in [0, 1), or a weight is inf or nan.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is {threshold}; it must be in [0, 1) of the mean |w|")
    rows = widened(weight.detach()).flatten(1)
    above = rows.abs() > threshold * rows.abs().mean(1, keepdim=True)
    return _shaped(rows, above, weight)


def ternarize_exactly(weight: Float[Tensor, "d_out ..."]) -> Ternary:
    """The nearest ternary channels in the mean square: never worse than any other threshold.

    Raises:
        ValueError: a weight is inf or nan.
    """
    rows = widened(weight.detach()).flatten(1)
    ordered, order = rows.abs().sort(1, descending=True)
    counts = torch.arange(1, rows.shape[1] + 1, device=rows.device)
    explained = ordered.double().cumsum(1).square() / counts  # what is subtracted from ||w||^2
    kept = explained.argmax(1, keepdim=True)
    above = torch.zeros_like(rows, dtype=torch.bool).scatter(1, order, counts - 1 <= kept)
    return _shaped(rows, above, weight)


def ternary_weight(weight: Float[Tensor, "d_out ..."]) -> Float[Tensor, "d_out ..."]:
    """alpha T by the paper's threshold, for training; the gradient goes to the weights as it is."""
    codes, alpha = ternarize(weight)
    return straight_through(weight, (alpha * codes).to(weight.dtype))


def _shaped(rows: Tensor, above: Tensor, weight: Tensor) -> Ternary:
    """Codes and magnitudes from the weights that are kept. A channel of zeros keeps none."""
    alpha = (rows.abs() * above).sum(1) / above.sum(1).clamp(min=1)
    codes = (rows.sign() * above).int()
    return Ternary(codes.reshape(weight.shape), alpha.reshape(-1, *[1] * (weight.ndim - 1)))
