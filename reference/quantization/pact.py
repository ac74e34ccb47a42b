"""PACT: the clip of an activation is learned, by the gradient that clipped values send it.

A wide clip loses little and rounds coarsely, a narrow one the reverse. PACT puts the clip alpha in
the place of ReLU's missing upper end and lets training weigh the two.

    y = clip(x, 0, alpha)          q = round(y (2**b - 1) / alpha) alpha / (2**b - 1)
    dq/dx     = 1[0 < x < alpha]
    dq/dalpha = 1[x >= alpha]      rounding is passed straight through, so inside it is 0

alpha grows only through values it clips; an L2 penalty on it, which the optimizer's weight decay
is, brings it back.

Source    Choi et al., "PACT: Parameterized Clipping Activation for Quantized Neural Networks",
          2018, arXiv:1805.06085, section 3.
Differs   alpha starts at the largest value seen in calibration.
Left out  SAWB, the paper's companion for weights; one alpha for each channel.
Read      affine.py, ste.py first. lsq.py learns the step from the values inside, too.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.quantization.affine import Grid, Range, asymmetric_grid, fake_quantize
from reference.quantization.calibration import min_max
from reference.quantization.ste import straight_through


def pact(
    x: Float[Tensor, "*shape"], alpha: Float[Tensor, ""], bits: int
) -> Float[Tensor, "*shape"]:
    """The activation, clipped to [0, alpha] and on a grid of 2**bits values.

    Raises:
        ValueError: alpha is not above zero, bits are no width, or x contains inf or nan.
    """
    clipped = torch.where(x >= alpha, alpha.to(x.dtype), x.relu())
    return straight_through(clipped, fake_quantize(clipped.detach(), pact_grid(alpha, bits)))


def pact_grid(alpha: Float[Tensor, ""], bits: int) -> Grid:
    """The grid from 0 to alpha.

    Raises:
        ValueError: alpha is not above zero, or bits are no width.
    """
    alpha = alpha.detach()
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha:g}; a clip lies above zero: lower its learning rate")
    return asymmetric_grid(Range(torch.zeros_like(alpha), alpha), bits)


class PactQuantizer(nn.Module):
    """pact() with its alpha. It is a ReLU as well: what is below 0 becomes 0."""

    def __init__(self, alpha: float, bits: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(alpha))
        self.bits = bits
        self.grid()  # a bad alpha or width is refused here, not in the first batch

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return pact(x, self.alpha, self.bits)

    def grid(self) -> Grid:
        return pact_grid(self.alpha, self.bits)

    def freeze_(self, frozen: bool) -> None:
        self.alpha.requires_grad_(not frozen)
        if frozen:
            self.alpha.grad = None  # an optimizer moves whatever still has one


def pact_activation(batches: Sequence[Float[Tensor, "..."]], bits: int) -> PactQuantizer:
    """A quantizer that clips nothing of these batches, to train from.

    Raises:
        ValueError: a value is below zero: PACT would cut it off.
    """
    low, high = min_max(batches)
    if low < 0:
        raise ValueError(f"values from {low:g} on were seen; PACT keeps only those above 0")
    return PactQuantizer(high.item(), bits)
