"""The Cholesky factor of a damped inverse: what GPTQ, SparseGPT and surgeons of weights share.

Source    Frantar et al., "GPTQ", 2022, arXiv:2210.17323, section 3.3 (step 3).
Differs   Damping grows tenfold until a factor exists; the authors stop at the first failure.
"""

import torch
from jaxtyping import Float
from torch import Tensor

MOST_DAMPING = 10.0  # of the mean diagonal; beyond, the inputs hardly matter


def inverse_factor(
    gram: Float[Tensor, "d_in d_in"], damping: float
) -> tuple[Float[Tensor, "d_in d_in"], float]:
    """U with (G + lambda I)^-1 = U' U, and the damping that it took.

    G + lambda I = R R' with R upper triangular is a Cholesky factorisation from the last input to
    the first, and U is the inverse of R: one factorisation, and nothing is squared.

    Raises:
        ValueError: not even the most damping makes it positive definite.
    """
    mean = gram.diagonal().mean().item() or 1.0  # no input was ever seen: nearest
    while damping <= MOST_DAMPING:
        damped = gram.flip(0, 1)
        damped.diagonal().add_(damping * mean)
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            upper = lower.flip(0, 1)
            del damped, lower  # d_in x d_in each
            identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
            torch.linalg.solve_triangular(upper, identity, upper=True, out=identity)
            return identity, damping
        damping *= 10
    raise ValueError(f"X'X has no Cholesky factor, even with {MOST_DAMPING:g} of its mean diagonal")
