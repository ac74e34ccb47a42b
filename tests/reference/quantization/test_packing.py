from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from reference.quantization.affine import (
    asymmetric_grid,
    channel_range,
    dequantize,
    fake_quantize,
    full_symmetric_grid,
    quantize,
    symmetric_grid,
)
from reference.quantization.packing import pack, packed_bytes, unpack

bit_widths = st.integers(1, 8)


def as_integer(codes: list[int], bits: int) -> int:
    """The row as one large integer: the definition, in Python's own arithmetic."""
    return sum(code << bits * place for place, code in enumerate(codes))


@given(bit_widths, st.integers(0, 40), st.integers(0, 10_000))
def test_unpacking_gives_back_every_code(bits, count, seed):
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**bits, (2, 3, count), generator=draw, dtype=torch.int32)
    packed = pack(codes, bits)
    assert packed.shape == (2, 3, -(-count * bits // 8))
    assert torch.equal(unpack(packed, bits, count), codes)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_every_pair_of_neighbours_survives(bits):
    codes = torch.tensor(list(product(range(2**bits), repeat=3 if bits < 4 else 2)))
    assert torch.equal(unpack(pack(codes, bits), bits, codes.shape[1]), codes.int())


@given(bit_widths, st.lists(st.integers(0, 255), min_size=1, max_size=30))
def test_bytes_are_the_little_endian_ones_of_one_large_integer(bits, codes):
    codes = [code % 2**bits for code in codes]
    expected = as_integer(codes, bits).to_bytes(packed_bytes(len(codes), bits), "little")
    assert bytes(pack(torch.tensor(codes), bits).tolist()) == expected


@pytest.mark.parametrize(
    ("bits", "codes", "expected"),
    [
        (1, [1, 0, 0, 0, 0, 0, 0, 1, 1], "81 01"),
        (2, [0, 1, 2, 3, 1], "e4 01"),
        (3, [1, 2, 3, 4, 5, 6, 7, 0], "d1 58 1f"),
        (4, [1, 2, 3], "21 03"),
        (8, [0, 127, 255], "00 7f ff"),
    ],
)
def test_known_layouts(bits, codes, expected):
    assert bytes(pack(torch.tensor(codes), bits).tolist()).hex(" ") == expected


def test_four_bits_are_those_of_onnx():
    codes = torch.randint(0, 16, (5, 6))
    unsigned = helper.make_tensor("x", TensorProto.UINT4, (30,), codes.flatten().tolist())
    assert unsigned.raw_data == b"" and bytes(unsigned.int32_data) == bytes(
        pack(codes, 4).flatten().tolist()
    )
    signed = helper.make_tensor("x", TensorProto.INT4, (30,), (codes - 8).flatten().tolist())
    assert bytes(signed.int32_data) == bytes(pack((codes - 8) & 15, 4).flatten().tolist())


def test_three_bits_are_the_32_bit_words_of_autogptq():
    """Its loop: ten codes, two bits of the next; one bit, ten codes, one bit; two bits, ten."""
    codes = np.random.default_rng(0).integers(0, 8, 32).astype(np.uint32)
    words = [0, 0, 0]
    for place in range(10):
        words[0] |= int(codes[place]) << 3 * place
        words[1] |= int(codes[11 + place]) << 3 * place + 1
        words[2] |= int(codes[22 + place]) << 3 * place + 2
    words[0] |= (int(codes[10]) & 3) << 30
    words[1] |= int(codes[10]) >> 2 | (int(codes[21]) & 1) << 31
    words[2] |= int(codes[21]) >> 1
    packed = pack(torch.from_numpy(codes.astype(np.int64)), 3).numpy()
    assert packed.view("<u4").tolist() == words


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("make_grid", [asymmetric_grid, symmetric_grid, full_symmetric_grid])
def test_unpacked_weights_are_the_fake_quantised_ones_to_the_bit(bits, make_grid):
    weight = torch.randn(7, 13)
    grid = make_grid(channel_range(weight), bits)
    packed = pack(quantize(weight, grid) - grid.qmin, bits)
    restored = dequantize(unpack(packed, bits, 13) + grid.qmin, grid)
    assert torch.equal(restored, fake_quantize(weight, grid))


def test_non_contiguous_codes_and_small_dtypes_give_the_same_bytes():
    codes = torch.randint(0, 16, (6, 10), dtype=torch.uint8)
    assert torch.equal(pack(codes.T, 4), pack(codes.T.contiguous().long(), 4))


def test_codes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="codes from -1 to 3 do not fit 2 bits without a sign"):
        pack(torch.tensor([-1, 3]), 2)
    with pytest.raises(ValueError, match="codes from 0 to 16 do not fit 4 bits"):
        pack(torch.tensor([0, 16]), 4)


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_bits_outside_1_to_8_are_refused(bits):
    with pytest.raises(ValueError, match=f"from 1 to 8, got {bits}"):
        pack(torch.tensor([0]), bits)


def test_bytes_that_do_not_match_the_count_are_refused():
    with pytest.raises(ValueError, match="rows of 2 bytes; 6 codes in 4 bits take 3"):
        unpack(torch.zeros(1, 2, dtype=torch.uint8), 4, 6)
