"""Rotation by a Hadamard matrix: every input becomes a sum of all, and outliers are shared out.

A product does not notice a rotation of both sides, but a grid does. A channel a hundred times
larger than the rest turns into a value that all channels share, so that the largest of n values
falls towards sqrt(2 log n) standard deviations: what a Gaussian has.

    y = W x = (W Q)(Q' x)         Q = H diag(signs) / sqrt(n),  H of +1 and -1,  H H' = n I
    H_2m = [[H_m, H_m], [H_m, -H_m]]                            doubling (Sylvester)
    H_(p+1) from the quadratic residues of a prime p = 3 mod 4  (Paley): 12, 20, 24, 44 ...

Random signs make a fixed structure in the input as unlikely to survive as any other.

Source    Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs", NeurIPS 2024,
          arXiv:2404.00456, section 3; Tseng et al., "QuIP#", ICML 2024, arXiv:2402.04396,
          section 3 (incoherence); Paley, "On Orthogonal Matrices", 1933 (the construction).
Differs   Signs come from the caller's generator.
Left out  Learned rotations (SpinQuant); rotating keys, values and the input of `down` at run time.
Read      rotation.py folds it into a whole Llama.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def hadamard(size: int, dtype: torch.dtype = torch.float64) -> Float[Tensor, "size size"]:
    """An orthogonal matrix whose entries are all +-1 / sqrt(size).

    Raises:
        ValueError: no matrix of that size is built here: 1, 2, or p + 1 with a prime p = 3 mod 4,
            times a power of two.
    """
    return _signs(size, size).to(dtype) / size**0.5


def random_hadamard(
    size: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "size size"]:
    """Q: a Hadamard matrix with columns of random sign; errors as in `hadamard`."""
    signs = torch.randint(0, 2, (size,), generator=generator) * 2 - 1
    return hadamard(size, dtype) * signs.to(dtype)


def transform(x: Float[Tensor, "... size"]) -> Float[Tensor, "... size"]:
    """x H / sqrt(size) in size log(size) additions, for a power of two.

    Raises:
        ValueError: the size is not a power of two.
    """
    size = x.shape[-1]
    if size < 1 or size & (size - 1):
        raise ValueError(f"{size} features are not a power of two")
    half = 1
    while half < size:
        pairs = x.unflatten(-1, (-1, 2, half))
        first, second = pairs.unbind(-2)
        x = torch.stack((first + second, first - second), dim=-2).flatten(-3)
        half *= 2
    return x / size**0.5


def kurtosis(x: Float[Tensor, "..."]) -> float:
    """Fourth moment over squared variance: 3 for a Gaussian, more with outliers."""
    centred = (x - x.mean()).flatten().double()
    return (centred.pow(4).mean() / centred.square().mean().square()).item()


def _signs(size: int, asked: int) -> Tensor:
    if size in (1, 2):
        return torch.tensor([[1, 1], [1, -1]])[:size, :size]
    if size % 4 == 0 and size >= 4:
        if _is_prime(size - 1):
            return _paley(size - 1)
        half = _signs(size // 2, asked)
        return torch.cat((torch.cat((half, half), 1), torch.cat((half, -half), 1)))
    raise ValueError(f"no Hadamard matrix of size {asked} is built here")


def _paley(prime: int) -> Tensor:
    """I + S, with S of zeros and ones of both signs, antisymmetric because -1 is no residue."""
    residues = torch.zeros(prime, dtype=torch.long) - 1
    residues[torch.arange(1, prime) ** 2 % prime] = 1
    residues[0] = 0
    places = torch.arange(prime)
    core = residues[(places.unsqueeze(0) - places.unsqueeze(1)) % prime]
    skew = torch.zeros(prime + 1, prime + 1, dtype=torch.long)
    skew[0, 1:], skew[1:, 0], skew[1:, 1:] = 1, -1, core
    return skew + torch.eye(prime + 1, dtype=torch.long)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % each for each in range(2, int(number**0.5) + 1))
