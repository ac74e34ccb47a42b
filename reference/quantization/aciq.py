"""ACIQ: the best clip of a bell-shaped tensor is a constant times its spread, known beforehand.

Suppose the values follow a Gaussian or Laplace law around mu. Clipping at mu +- a loses what lies
beyond; rounding within loses a uniform noise of step^2 / 12, step = 2 a / 2**M. The sum has one
minimum, and no search over the data is needed to find it.

    Laplace    E(a) = 2 b^2 exp(-a / b) + a^2 / (3 4**M)               a/b exp(a/b) = 3 4**M
    Gaussian   E(a) = (s^2 + a^2) erfc(a / s sqrt 2) - sqrt(2 / pi) a s exp(-a^2 / 2 s^2)
                      + a^2 / (3 4**M)
    b = E|x - mu|      s^2 = E(x - mu)^2      a/b = 2.83, 3.89, 5.03      a/s = 1.71, 2.15, 2.56

for M = 2, 3, 4. After a ReLU the codes cover one side only, as if they had one bit more.

The exact optimum clips later: 2.00, 2.35, 2.68 s for 2**M evenly spaced levels (Max, 1960). The
formula puts the outermost level at a; it lies half a step inside, so a may be larger.

Source    Banner, Nahshan, Soudry, "Post training 4-bit quantization of convolutional networks for
          rapid-deployment", NeurIPS 2019, arXiv:1810.05723, sections 3.1, 3.2 and appendix A.
Differs   The range never leaves what was seen. Exact zeros of a one-sided tensor are not counted:
          half of all values before a ReLU become zero, and say nothing about the spread.
Left out  Choosing between the two laws; bit allocation per channel; bias correction of weights.
Read      calibration.py first: both functions fit where a `Calibrator` is asked for.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reference.quantization.affine import Range, checked_bits, tensor_range
from reference.quantization.calibration import joined

NEWTON_STEPS = 60  # both equations are concave and are entered from the left: no step overshoots


def laplace(batches: Sequence[Float[Tensor, "..."]], bits: int = 8) -> Range:
    """The range that the Laplace law of the same mean and mean deviation asks for."""
    return _range(batches, bits, laplace_clip, lambda deviation: deviation.abs().mean())


def gaussian(batches: Sequence[Float[Tensor, "..."]], bits: int = 8) -> Range:
    """The range that the Gaussian law of the same mean and variance asks for."""
    return _range(batches, bits, gaussian_clip, lambda deviation: deviation.square().mean().sqrt())


def laplace_clip(bits: int) -> float:
    """a / b, the root of a + log a = log(3 4**bits): Lambert's W(3 4**bits)."""
    a, target = 1.0, math.log(3 * 4**bits)
    for _ in range(NEWTON_STEPS):
        a -= (a + math.log(a) - target) / (1 + 1 / a)
    return a


def gaussian_clip(bits: int) -> float:
    """a / s, where dE/da = 0."""
    a, rounding = 0.0, 1 / (3 * 4**bits)
    for _ in range(NEWTON_STEPS):
        tail = math.erfc(a / math.sqrt(2)) + rounding
        a -= (a * tail - math.sqrt(2 / math.pi) * math.exp(-a * a / 2)) / tail
    return a


def laplace_error(clip: float, bits: int) -> float:
    """E(a), in units of b^2, for a clip in units of b."""
    return 2 * math.exp(-clip) + clip**2 / (3 * 4**bits)


def gaussian_error(clip: float, bits: int) -> float:
    """E(a), in units of s^2, for a clip in units of s."""
    beyond = (1 + clip**2) * math.erfc(clip / math.sqrt(2))
    beyond -= math.sqrt(2 / math.pi) * clip * math.exp(-(clip**2) / 2)
    return beyond + clip**2 / (3 * 4**bits)


def _range(
    batches: Sequence[Tensor],
    bits: int,
    clip: Callable[[int], float],
    spread: Callable[[Tensor], Tensor],
) -> Range:
    checked_bits(bits)
    values = joined(batches)
    low, high = tensor_range(values)
    if low >= 0 and high > 0:
        reach = clip(bits + 1) * spread(values[values > 0])
        return Range(torch.zeros_like(low), torch.minimum(reach, high))
    centre = values.mean()
    reach = clip(bits) * spread(values - centre)
    return Range(torch.maximum(centre - reach, low), torch.minimum(centre + reach, high))
