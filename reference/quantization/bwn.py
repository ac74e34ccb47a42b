"""Binary weights: a sign for each weight, and one magnitude for each filter.

    min over alpha, B in {-1, +1}^n of ||w - alpha B||^2
    B = sign(w)          alpha = ||w||_1 / n          error = ||w||^2 - ||w||_1^2 / n

For any alpha above 0 the best signs are the weights' own; given them, the error is a parabola in
alpha.
Rounding happens in every forward pass, and the updates go to the real weights behind it:

    dL/dw_i = alpha 1[|w_i| <= 1] dL/dq_i + sign(w_i) / n sum_j sign(w_j) dL/dq_j

Source    Rastegari et al., "XNOR-Net", ECCV 2016, arXiv:1603.05279, sections 3.1-3.2.
Differs   The gradient is the whole chain rule through alpha; the paper keeps the term j = i of the
          sum, without its signs: 1 / n.
Left out  Clipping the real weights to [-1, 1] after each step (BinaryConnect).
Read      affine.py, ste.py first; xnor.py makes the inputs binary, too.
"""

from typing import NamedTuple

from jaxtyping import Float, Int, UInt8
from torch import Tensor

from reference.quantization.affine import widened
from reference.quantization.packing import pack, unpack
from reference.quantization.ste import sign_ste, signs


class Binary(NamedTuple):
    """Filters of one bit a weight. The value is alpha * signs."""

    signs: Int[Tensor, "d_out ..."]  # -1 or +1
    alpha: Float[Tensor, "d_out ..."]  # one for each filter: (8, 1, 1, 1)


def binarize(weight: Float[Tensor, "d_out ..."]) -> Binary:
    """The nearest binary filters in the mean square. A weight of 0 becomes +alpha.

    Raises:
        ValueError: a weight is inf or nan, or there is none.
    """
    values = widened(weight.detach())
    return Binary(signs(values).int(), magnitude(values))


def binary_weight(weight: Float[Tensor, "d_out ..."]) -> Float[Tensor, "d_out ..."]:
    """alpha sign(w), for training: gradients as above."""
    return magnitude(widened(weight)).to(weight.dtype) * sign_ste(weight)


def magnitude(weight: Float[Tensor, "d_out ..."]) -> Float[Tensor, "d_out ..."]:
    """The mean |w| of each filter."""
    others = list(range(1, weight.ndim))
    return weight.abs().mean(others, keepdim=True) if others else weight.abs()


def pack_signs(binary: Binary) -> UInt8[Tensor, "d_out bytes"]:
    """One bit a weight, 1 for +1; each filter ends on a whole byte. alpha is stored beside it."""
    return pack((binary.signs.flatten(1) > 0).int(), bits=1)


def unpack_signs(packed: UInt8[Tensor, "d_out bytes"], count: int) -> Int[Tensor, "d_out count"]:
    """The signs of filters of `count` weights each."""
    return 2 * unpack(packed, 1, count) - 1
