"""Packing: b-bit codes in b bits, since no machine has a 4-bit number.

The codes of a row form one stream of bits, the lowest bit of the first code first; byte k of the
row is bits 8k to 8k + 7 of it. Each row ends on a whole byte.

    byte k = sum over bits j of the stream, 8k <= j < 8k + 8, of bit_j 2**(j - 8k)
    4 bits    [1, 2, 3]                    2 1 | 0 3                 0x21 0x03
    3 bits    [1, 2, 3, 4, 5, 6, 7, 0]     one word 0x1f58d1         0xd1 0x58 0x1f

In 2, 4 and 8 bits no code crosses a byte. These are the bytes of ONNX (INT4, UINT4, MatMulNBits);
read four at a time as little-endian words they are AutoGPTQ's, 3 bits included.

Source    onnx.ai/onnx/technical/int4.html (first code in the lower half of a byte); AutoGPTQ,
          qlinear_cuda_old.py (3 bits across words of 32).
Differs   Codes are packed along their row; AutoGPTQ packs along columns: transpose first.
Left out  Interleaved orders that one kernel wants (AWQ's 0 2 4 6 1 3 5 7, Marlin's tiles).
Read      affine.py first. Signed codes: subtract qmin, or keep `codes & (2**bits - 1)`.
"""

import torch
from jaxtyping import Int, Integer, UInt8
from torch import Tensor

PERIOD = 8  # codes that fill `bits` whole bytes: no code crosses from one period to the next


def packed_bytes(count: int, bits: int) -> int:
    """Bytes of a row of `count` codes: 100 codes in 3 bits take 38."""
    return -(-count * _checked(bits) // 8)


def pack(codes: Integer[Tensor, "... count"], bits: int) -> UInt8[Tensor, "... bytes"]:
    """The rows as bytes.

    Raises:
        ValueError: bits are not from 1 to 8, or a code is not in [0, 2**bits).
    """
    _checked(bits)
    if codes.numel() and not (codes.min() >= 0 and codes.max() < 2**bits):
        raise ValueError(
            f"codes from {int(codes.min())} to {int(codes.max())} do not fit {bits} bits without "
            "a sign; subtract the grid's qmin"
        )
    count = codes.shape[-1]
    padded = torch.nn.functional.pad(codes.long(), (0, -count % PERIOD))
    shifts = bits * torch.arange(PERIOD, device=codes.device)
    words = (padded.unflatten(-1, (-1, PERIOD)) << shifts).sum(-1, keepdim=True)
    parts = (words >> 8 * torch.arange(bits, device=codes.device)) & 255
    return parts.flatten(-2).to(torch.uint8)[..., : packed_bytes(count, bits)].contiguous()


def unpack(packed: UInt8[Tensor, "... bytes"], bits: int, count: int) -> Int[Tensor, "... count"]:
    """The first `count` codes of each row, as int32.

    Raises:
        ValueError: the rows have not the bytes that `count` codes take.
    """
    if packed.shape[-1] != packed_bytes(count, bits):
        raise ValueError(
            f"rows of {packed.shape[-1]} bytes; {count} codes in {bits} bits take "
            f"{packed_bytes(count, bits)}"
        )
    padded = torch.nn.functional.pad(packed.long(), (0, -packed.shape[-1] % bits))
    places = 8 * torch.arange(bits, device=packed.device)
    words = (padded.unflatten(-1, (-1, bits)) << places).sum(-1, keepdim=True)
    codes = (words >> bits * torch.arange(PERIOD, device=packed.device)) & (2**bits - 1)
    return codes.flatten(-2)[..., :count].to(torch.int32)


def _checked(bits: int) -> int:
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be from 1 to 8, got {bits}")
    return bits
