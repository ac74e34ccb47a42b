"""XNOR networks: inputs are signs, too, and a product of two signs is one gate.

    x . w  ~  beta alpha (sign(x) . sign(w))         alpha, beta: mean magnitudes
    n bits:   sign(x) . sign(w) = n - 2 popcount(x_bits xor w_bits)

For a convolution every window has its own beta. All of them come from one small convolution: with A
the mean of |x| over channels and k a window whose values sum to 1, K = A * k.

    conv(x, w)  ~  conv(sign(x), sign(w)) K alpha

alpha beta is the best magnitude where |x| and |w| are uncorrelated, as the paper takes them to be.

Source    Rastegari et al., "XNOR-Net", ECCV 2016, arXiv:1603.05279, section 3.2.
Differs   The sign's gradient is the clipped one of ste.py; K is a constant of the backward pass.
Left out  The order of layers (norm, sign, convolution, pooling), which belongs to the network;
          blocked popcounts: this one takes rows * d_out * bytes of memory.
Read      ste.py, bwn.py first.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from reference.quantization.bwn import binary_weight
from reference.quantization.ste import sign_ste

POPCOUNT = torch.tensor([byte.bit_count() for byte in range(256)], dtype=torch.int32)


def xnor_linear(
    x: Float[Tensor, "... d_in"], weight: Float[Tensor, "d_out d_in"]
) -> Float[Tensor, "... d_out"]:
    """x @ weight.T with both binary: a magnitude for each row of x and each row of weight."""
    beta = x.detach().abs().mean(-1, keepdim=True)
    return F.linear(sign_ste(x), binary_weight(weight)) * beta


def xnor_conv2d(
    x: Float[Tensor, "batch d_in height width"],
    weight: Float[Tensor, "d_out d_in kernel_height kernel_width"],
    stride: int = 1,
    padding: int = 0,
) -> Float[Tensor, "batch d_out out_height out_width"]:
    """The convolution with both binary. Padding is 0 in the signs as in K: it adds nothing."""
    plane = x.detach().abs().mean(1, keepdim=True)
    window = torch.full_like(weight[:1, :1], 1 / weight[0, 0].numel())
    magnitude = F.conv2d(plane, window, None, stride, padding)
    return F.conv2d(sign_ste(x), binary_weight(weight), None, stride, padding) * magnitude


def popcount_matmul(
    a: UInt8[Tensor, "rows bytes"], weight: UInt8[Tensor, "d_out bytes"], count: int
) -> Int[Tensor, "rows d_out"]:
    """The products of `count` packed signs (bwn.pack_signs) with packed signs.

    Raises:
        ValueError: rows have not the bytes that `count` signs take.
    """
    needed = -(-count // 8)
    if a.shape[-1] != needed or weight.shape[-1] != needed:
        raise ValueError(
            f"rows of {a.shape[-1]} and {weight.shape[-1]} bytes; {count} signs take {needed}"
        )
    differing = a.unsqueeze(1) ^ weight  # the bits that pad a row are 0 in both
    return count - 2 * POPCOUNT.to(a.device)[differing.long()].sum(-1, dtype=torch.int32)
