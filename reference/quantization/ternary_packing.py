"""Packing of ternary codes: three values are log2(3) = 1.58 bits, and five fit in a byte.

    byte = sum over k < 5 of (t_k + 1) 3**k                3**5 = 243 of 256 values

1.6 bits a weight, 1 % above the least there can be; two bits each (packing.py) take a quarter more.

Source    The arithmetic above; llama.cpp stores TQ1_0 in blocks of the same five to a byte.
Differs   llama.cpp scales the byte so that digits come out by multiplication.
Left out  Blocks with their own scale.
Read      packing.py first. Used for twn.py and bitnet.py.
"""

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

CODES_PER_BYTE = 5


def packed_ternary_bytes(count: int) -> int:
    """Bytes of a row of `count` codes: 64 codes take 13."""
    return -(-count // CODES_PER_BYTE)


def pack_ternary(codes: Int[Tensor, "... count"]) -> UInt8[Tensor, "... bytes"]:
    """The rows as bytes. Each row ends on a whole byte.

    Raises:
        ValueError: a code is not -1, 0 or 1.
    """
    if codes.numel() and codes.abs().max() > 1:
        raise ValueError(f"codes reach {int(codes.abs().max())}; ternary ones are -1, 0 and 1")
    digits = torch.nn.functional.pad(codes.long() + 1, (0, -codes.shape[-1] % CODES_PER_BYTE))
    return (digits.unflatten(-1, (-1, CODES_PER_BYTE)) * _powers(codes)).sum(-1).to(torch.uint8)


def unpack_ternary(packed: UInt8[Tensor, "... bytes"], count: int) -> Int[Tensor, "... count"]:
    """The first `count` codes of each row, as int32.

    Raises:
        ValueError: the rows have not the bytes that `count` codes take, or a byte is above 242.
    """
    if packed.shape[-1] != packed_ternary_bytes(count):
        raise ValueError(
            f"rows of {packed.shape[-1]} bytes; {count} codes take {packed_ternary_bytes(count)}"
        )
    if packed.numel() and packed.max() >= 3**CODES_PER_BYTE:
        raise ValueError(f"a byte is {int(packed.max())}; five ternary codes reach 242")
    digits = packed.long().unsqueeze(-1) // _powers(packed) % 3
    return (digits.flatten(-2)[..., :count] - 1).to(torch.int32)


def _powers(like: Tensor) -> Tensor:
    return 3 ** torch.arange(CODES_PER_BYTE, device=like.device)
