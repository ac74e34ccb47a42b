"""The pack-quantized layout: 4-bit codes, eight to an int32, with scales and zero points.

Source    compressed-tensors 0.19.0, compressors/pack_quantized, which packs and unpacks here.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from labkit.export.packed import PackedLinear

BITS = 4


def pack(name: str, layer: PackedLinear) -> dict[str, Tensor]:
    """The tensors that stand for the weight of the layer of that name."""
    from compressed_tensors.compressors.pack_quantized import helpers

    codes = helpers.pack_to_int32(layer.codes.to(torch.int8), BITS)
    tensors = {
        f"{name}.weight_packed": codes.contiguous(),
        f"{name}.weight_scale": layer.scales.float().contiguous(),
        f"{name}.weight_shape": torch.tensor(layer.codes.shape),
    }
    if layer.zero_points is not None:
        zeros = helpers.pack_to_int32(layer.zero_points.to(torch.int8), BITS, packed_dim=0)
        tensors[f"{name}.weight_zero_point"] = zeros.contiguous()
    return tensors


def unpack(stored: Mapping[str, Tensor], group_size: int) -> dict[str, Tensor]:
    """A checkpoint's tensors, with weights in FP32 where there were codes."""
    from compressed_tensors.compressors.pack_quantized import helpers

    state = dict(stored)
    for name in [key.removesuffix("_packed") for key in stored if key.endswith(".weight_packed")]:
        codes, scales = state.pop(f"{name}_packed"), state.pop(f"{name}_scale")
        shape = torch.Size(state.pop(f"{name}_shape").tolist())
        zeros = state.pop(f"{name}_zero_point", None)
        if zeros is not None:
            zeros = helpers.unpack_from_int32(zeros, BITS, scales.shape, packed_dim=0)
        codes = helpers.unpack_from_int32(codes, BITS, shape)
        state[name] = PackedLinear(codes, scales, group_size, zeros).weight()
    return state
