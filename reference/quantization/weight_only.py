"""Weight-only quantization by rounding to nearest: the baseline that cleverer methods must beat.

Generating text reads all weights for one token, so time follows the bytes of the weights, and
activations may stay in float. A layer keeps packed codes and multiplies by what they stand for.

`round_weights` gives the model in floats, on which quality is measured; `pack_weights` the model as
it is stored. Both compute the same numbers, to the bit.

Source    Frantar et al., "GPTQ", 2022, arXiv:2210.17323, section 4 (the baseline RTN);
          Yao et al., "ZeroQuant", NeurIPS 2022, arXiv:2206.01861, section 4.1 (groups).
Differs   Embeddings and convolutions can be rounded too: in a small language model most weights are
          embeddings. A convolution's row is all of its inputs and pixels.
Left out  Kernels that multiply packed codes; layers whose embedding and output share one weight
          get a copy each.
Read      packed_weight.py first. onnx_weights.py writes the same codes as a file.
"""

import copy
from collections.abc import Mapping, Sequence

from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from reference.quantization.packed_weight import (
    PackedWeight,
    WeightOnlyConfig,
    pack_weight,
    unpack_weight,
)

KINDS = (nn.Linear,)


class WeightOnlyLayer(nn.Module):
    """A linear layer, convolution or embedding that keeps its weight packed."""

    codes: UInt8[Tensor, "d_out bytes"]
    scale: Float[Tensor, "rows groups"]
    zero_points: UInt8[Tensor, "rows zero_bytes"] | None

    def __init__(self, layer: nn.Module, packed: PackedWeight) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.shape, self.dtype = layer.weight.shape, layer.weight.dtype
        self.bits, self.d_in = packed.bits, packed.d_in
        del self.layer.weight
        for name in ("codes", "scale", "zero_points"):
            self.register_buffer(name, getattr(packed, name))

    def forward(self, x: Tensor) -> Tensor:
        return functional_call(self.layer, {"weight": self.weight}, (x,))

    @property
    def weight(self) -> Float[Tensor, "..."]:
        stored = PackedWeight(self.codes, self.scale, self.zero_points, self.bits, self.d_in)
        return unpack_weight(stored).reshape(self.shape).to(self.dtype)


class WeightOnlyEmbedding(WeightOnlyLayer):
    """An embedding that unpacks only the rows it is asked for."""

    def forward(self, x: Int[Tensor, "..."]) -> Float[Tensor, "... features"]:
        rows, places = x.unique(return_inverse=True)
        one_for_all = len(self.scale) == 1
        zeros = self.zero_points
        stored = PackedWeight(
            self.codes[rows],
            self.scale if one_for_all else self.scale[rows],
            zeros if one_for_all or zeros is None else zeros[rows],
            self.bits,
            self.d_in,
        )
        return F.embedding(places, unpack_weight(stored).to(self.dtype))


def round_weights(
    model: nn.Module,
    config: WeightOnlyConfig = WeightOnlyConfig(),
    kinds: tuple[type[nn.Module], ...] = KINDS,
    keep: Sequence[str] = (),
) -> nn.Module:
    """A copy in floats, each weight replaced by what its codes stand for.

    Args:
        kinds: of layers to round, of nn.Linear, nn.Conv2d and nn.Embedding.
        keep: names of layers that stay as they are.

    Raises:
        ValueError: no layer is left to round, or one cannot be, which is named.
    """
    return with_rounded(model, packed_weights(model, config, kinds, keep))


def pack_weights(
    model: nn.Module,
    config: WeightOnlyConfig = WeightOnlyConfig(),
    kinds: tuple[type[nn.Module], ...] = KINDS,
    keep: Sequence[str] = (),
) -> nn.Module:
    """A copy whose layers keep packed codes; arguments and errors as in `round_weights`."""
    return with_packed(model, packed_weights(model, config, kinds, keep))


def with_rounded(model: nn.Module, packed: Mapping[str, PackedWeight]) -> nn.Module:
    """A copy in floats, the weights of the named layers replaced by what these codes stand for."""
    rounded = copy.deepcopy(model)
    for name, each in packed.items():
        layer = rounded.get_submodule(name)
        weight = unpacked_like(layer.weight, each)
        layer.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    return rounded


def with_packed(model: nn.Module, packed: Mapping[str, PackedWeight]) -> nn.Module:
    """A copy whose named layers keep these codes."""
    stored = copy.deepcopy(model)
    for name, each in packed.items():
        layer = stored.get_submodule(name)
        kind = WeightOnlyEmbedding if isinstance(layer, nn.Embedding) else WeightOnlyLayer
        parent, _, child = name.rpartition(".")
        setattr(stored.get_submodule(parent), child, kind(layer, each))
    return stored


def unpacked_like(weight: Float[Tensor, "..."], packed: PackedWeight) -> Float[Tensor, "..."]:
    """What the codes stand for, in the shape and dtype of a layer's weight."""
    return unpack_weight(packed).reshape(weight.shape).to(weight.dtype)


def packed_weights(
    model: nn.Module,
    config: WeightOnlyConfig,
    kinds: tuple[type[nn.Module], ...] = KINDS,
    keep: Sequence[str] = (),
) -> dict[str, PackedWeight]:
    """The packed weight of each layer, by name; arguments and errors as in `round_weights`."""
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, kinds) and name not in keep
    }
    if not layers:
        wanted = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{type(model).__name__} has no layer left to round among {wanted}")
    packed = {}
    for name, layer in layers.items():
        try:
            packed[name] = pack_weight(layer.weight.detach().flatten(1), config)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from error
    return packed
