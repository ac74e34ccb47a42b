"""Rounds and clips in NumPy, whose rint goes to the even number too."""

# right: 01

import numpy as np


def quantize(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    codes = np.rint(x.numpy() / np.float32(scale)) + zero_point
    return torch.from_numpy(np.clip(codes, 0, 2**bits - 1).astype(np.int32))
