"""A scale per channel, moved from the input of linear layers into what makes that input.

    y = W x = (W s)(x / s)        x = g * normed + b      ->  (g / s) * normed + b / s
                                  x = V z + b             ->  (V / s) z + b / s
                                  x = f(gate) * (V z)     ->  f(gate) * ((V / s) z)

It passes norms, linear layers and products, but no activation function. In Llama's layout that
gives four places in a block; the second only where every query head has its own value head.

Source    Xiao et al., SmoothQuant, ICML 2023, arXiv:2211.10438, section 4; Lin et al., AWQ,
          MLSys 2024, arXiv:2306.00978, section 3.2.
Left out  Norms that multiply by 1 + weight (Gemma).
Read      awq.py and smoothquant.py choose s.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Place(NamedTuple):
    """Names in a block: what makes an input, and the linear layers that alone read it."""

    maker: str
    readers: tuple[str, ...]


LLAMA = (
    Place("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    Place("self_attn.v_proj", ("self_attn.o_proj",)),
    Place("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
    Place("mlp.up_proj", ("mlp.down_proj",)),
)


def foldable_places(block: nn.Module, places: Sequence[Place] = LLAMA) -> list[Place]:
    """Those of the places whose maker has one value for each input of its readers."""
    return [
        place
        for place in places
        if len(_weight(block, place.maker)) == _weight(block, place.readers[0]).shape[1]
    ]


@torch.no_grad()
def fold_scale_(block: nn.Module, place: Place, scale: Float[Tensor, " d_in"]) -> None:
    """Divide what the maker makes by s and multiply its readers' weights by s, in place.

    Raises:
        ValueError: s is not above zero and finite, or has not one value per input.
    """
    if not (torch.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError(f"a scale must be above zero and finite, the smallest is {scale.min():g}")
    maker = block.get_submodule(place.maker)
    widths = {len(maker.weight), *(_weight(block, name).shape[1] for name in place.readers)}
    if widths != {len(scale)}:
        raise ValueError(f"{len(scale)} scales for {place.maker!r}, which has {sorted(widths)}")
    maker.weight.div_(scale.reshape(-1, *(1 for _ in maker.weight.shape[1:])))
    if getattr(maker, "bias", None) is not None:
        maker.bias.div_(scale)
    for name in place.readers:
        _weight(block, name).mul_(scale)


def _weight(block: nn.Module, name: str) -> Tensor:
    weight: Tensor = block.get_submodule(name).weight
    return weight
