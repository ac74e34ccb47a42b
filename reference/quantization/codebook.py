"""Codebooks: the values a weight may take need not be evenly spaced, only few.

k-means finds 2**b centroids for the weights of a layer; what is stored is the centroids, and for
each weight the index of its own. All weights of a cluster move together in later training.

    assign      q_i = argmin_k |w_i - c_k|
    update      c_k = mean of the w_i with q_i = k           repeat until nothing moves
    fine-tune   dL/dc_k = sum over q_i = k of dL/dw_i
    bytes       n b / 8 + 4 * 2**b          16 weights, 4 centroids: 64 bytes become 4 + 16

Centroids begin evenly spaced between the ends: large weights are few and matter, and random or
density-based centroids would leave them none. In one dimension clusters are intervals, so a step
costs a search in sorted values and not a distance to every centroid.

Source    Han, Mao, Dally, "Deep Compression", ICLR 2016, arXiv:1510.00149, section 3;
          Lloyd, "Least squares quantization in PCM", 1957 (published 1982).
Differs   A cluster that has lost all its weights keeps its centroid.
Left out  Pruned weights as a cluster of their own; Huffman codes; several weights to one index
          (product quantization, AQLM).
Read      affine.py first: a grid is a codebook that needs no table.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from reference import walk
from reference.quantization.affine import widened
from reference.quantization.packing import packed_bytes

Start = Callable[[Tensor, int], Tensor]
CENTROID_BYTES = 4


class Codebook(NamedTuple):
    centroids: Float[Tensor, " k"]  # ascending
    codes: Int[Tensor, "..."]  # in the shape of the weight

    @property
    def nbytes(self) -> int:
        bits = (len(self.centroids) - 1).bit_length()
        return packed_bytes(self.codes.numel(), bits) + CENTROID_BYTES * len(self.centroids)


def linear_start(values: Float[Tensor, " n"], k: int) -> Float[Tensor, " k"]:
    """Evenly spaced from the smallest value to the largest."""
    share = torch.linspace(0, 1, k, dtype=values.dtype, device=values.device)
    return torch.lerp(values.min(), values.max(), share)


def density_start(values: Float[Tensor, " n"], k: int) -> Float[Tensor, " k"]:
    """The middles of k equally large shares of the sorted values."""
    places = ((2 * torch.arange(k, device=values.device) + 1) * len(values)) // (2 * k)
    return values.sort().values[places]


def random_start(values: Float[Tensor, " n"], k: int, seed: int = 0) -> Float[Tensor, " k"]:
    """k of the values, drawn with a seed (Forgy)."""
    draw = torch.Generator().manual_seed(seed)
    return values[torch.randint(len(values), (k,), generator=draw)]


def cluster(
    weight: Float[Tensor, "..."],
    bits: int,
    start: Start = linear_start,
    max_steps: int = 300,
) -> Codebook:
    """Lloyd's algorithm: 2**bits centroids, each the mean of the weights nearest to it.

    The mean squared error falls with every step, to a minimum that depends on the start.

    Raises:
        ValueError: bits are not from 1 to 8, or the weight has no values or one not finite.
    """
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be from 1 to 8, got {bits}")
    values = widened(weight).flatten()
    centroids = start(values, 2**bits).sort().values
    ordered = values.sort().values
    sums = torch.cat([ordered.new_zeros(1, dtype=torch.float64), ordered.double().cumsum(0)])
    for _ in range(max_steps):
        moved = _updated(ordered, sums, centroids)
        if torch.equal(moved, centroids):
            break
        centroids = moved
    return Codebook(centroids, assign(values, centroids).reshape(weight.shape))


def assign(values: Float[Tensor, "..."], centroids: Float[Tensor, " k"]) -> Int[Tensor, "..."]:
    """The index of the nearest of ascending centroids; of two equally near, the lower."""
    return torch.bucketize(values.contiguous(), _borders(centroids)).to(torch.int32)


def look_up(codebook: Codebook) -> Float[Tensor, "..."]:
    """The weight that the codes stand for. Differentiable in the centroids."""
    return codebook.centroids[codebook.codes.long()]


def centroid_gradient(
    weight_gradient: Float[Tensor, "..."], codes: Int[Tensor, "..."], k: int
) -> Float[Tensor, " k"]:
    """dL/dc from dL/dW: the sum over the weights of each cluster."""
    total = torch.zeros(k, dtype=weight_gradient.dtype, device=weight_gradient.device)
    return total.index_add(0, codes.flatten().long(), weight_gradient.flatten())


class CodebookLayer(nn.Module):
    """A layer whose weight is looked up, and whose centroids are what an optimizer trains."""

    codes: Int[Tensor, "..."]

    def __init__(self, layer: walk.Layer, codebook: Codebook) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.centroids = nn.Parameter(codebook.centroids.to(layer.weight.dtype))
        self.register_buffer("codes", codebook.codes)
        del self.layer.weight

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        weight = look_up(Codebook(self.centroids, self.codes))
        return functional_call(self.layer, {"weight": weight}, (x,))


def cluster_model(model: nn.Module, bits: int, start: Start = linear_start) -> nn.Module:
    """A copy whose convolutions and linear layers have a codebook each, ready to be fine-tuned.

    Raises:
        ValueError: the model has no such layer, or a weight is not finite.
    """
    clustered = copy.deepcopy(model)
    layers = walk.named_layers(clustered)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no convolution or linear layer")
    for name, layer in layers.items():
        codebook = cluster(layer.weight.detach(), bits, start)
        walk.replace_(clustered, name, CodebookLayer(layer, codebook))
    return clustered


def _updated(ordered: Tensor, sums: Tensor, centroids: Tensor) -> Tensor:
    """The mean of each cluster, which is a stretch of the sorted values."""
    inner = torch.searchsorted(ordered, _borders(centroids), right=True)
    ends = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), len(ordered))])
    count = ends.diff()
    means = sums[ends].diff() / count.clamp(min=1)
    return torch.where(count > 0, means.to(centroids.dtype), centroids).sort().values


def _borders(centroids: Tensor) -> Tensor:
    return (centroids[1:] + centroids[:-1]) / 2
