"""Claims about sparse storage. Bytes are compared with labkit's account, which sees no values."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from labkit.footprint import Bitmap as BitmapBytes
from labkit.footprint import Csr as CsrBytes
from labkit.footprint import RelativeIndex as RelativeBytes
from labkit.footprint import TwoOfFour as TwoOfFourBytes
from labkit.footprint.sparse import fillers_of
from labkit.footprint.tensors import tensors
from reference.pruning.masks import n_m_mask, row_mask
from reference.pruning.sparse_storage import (
    from_bitmap,
    from_csr,
    from_relative,
    from_two_of_four,
    stored_bytes,
    to_bitmap,
    to_csr,
    to_relative,
    to_two_of_four,
)

FORMATS = {
    "bitmap": (to_bitmap, from_bitmap),
    "csr": (to_csr, from_csr),
    "relative": (to_relative, from_relative),
}
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)


@st.composite
def sparse(draw, multiple=1, least=0):
    """Of any density and shape, empty ones too; values are whole numbers, which all dtypes have."""
    rows, columns = draw(st.integers(least, 6)), multiple * draw(st.integers(least, 40))
    kept = draw(st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]))
    draws = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    values = torch.randint(1, 100, (rows, columns), generator=draws)
    values *= 1 - 2 * torch.randint(2, values.shape, generator=draws)
    mask = torch.rand(values.shape, generator=draws) < kept
    return (values * mask).to(draw(st.sampled_from(DTYPES)))


def half(dense):
    return dense * n_m_mask(dense.double().abs(), 2, 4)


def account(dense):
    """What labkit knows of a tensor."""
    layer = nn.Linear(dense.shape[1], dense.shape[0], bias=False)
    return tensors(layer)[0]


def density(dense):
    return int((dense != 0).sum()) / dense.numel()


@pytest.mark.parametrize("name", FORMATS)
@given(sparse())
def test_every_value_comes_back_in_its_place_and_dtype(name, dense):
    to, back = FORMATS[name]
    found = back(to(dense))
    assert found.dtype == dense.dtype
    assert torch.equal(found, dense)


@given(sparse(), st.integers(1, 8))
def test_gaps_of_any_length_are_bridged_in_any_number_of_bits(dense, bits):
    stored = to_relative(dense, bits)
    assert torch.equal(from_relative(stored), dense)
    fillers = len(stored.values) - int((dense != 0).sum())
    assert fillers == fillers_of(dense != 0, bits)


@given(sparse(multiple=4, least=1))
def test_two_of_four_come_back(dense):
    found = from_two_of_four(to_two_of_four(half(dense)))
    assert found.dtype == dense.dtype
    assert torch.equal(found, half(dense))


@pytest.mark.parametrize(("rows", "columns"), [(5, 16), (3, 13), (1, 300), (300, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int8])
def test_bytes_are_those_of_the_account(rows, columns, dtype):
    dense = (torch.randn(rows, columns) * 9).round()
    dense = (dense * row_mask(torch.rand(rows, columns), 0.8)).to(dtype)
    bits, kept = 8 * dtype.itemsize, density(dense)
    known = account(dense)
    assert stored_bytes(to_bitmap(dense)) == BitmapBytes(kept, bits).parts(known).total
    index = 8 if columns <= 256 else 16
    assert stored_bytes(to_csr(dense)) == CsrBytes(kept, bits, index).parts(known).total
    fillers = fillers_of(dense != 0) / dense.numel()
    relative = RelativeBytes(kept, fillers, bits).parts(known).total
    assert stored_bytes(to_relative(dense)) == relative


@pytest.mark.parametrize(("rows", "columns"), [(5, 16), (3, 12), (1, 256)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int8])
def test_bytes_of_two_of_four_are_those_of_the_account(rows, columns, dtype):
    dense = half((torch.randn(rows, columns) * 9).round()).to(dtype)
    expected = TwoOfFourBytes(8 * dtype.itemsize).parts(account(dense)).total
    assert stored_bytes(to_two_of_four(dense)) == expected


@pytest.mark.parametrize(
    ("dtype", "sparsity", "expected"),
    [
        # Dense bytes over stored bytes. d v + 1 bits for each value, or d (v + 16) and pointers.
        (torch.float32, 0.9, {"bitmap": 32 / 4.2, "csr": 32 / (0.1 * 48 + 32 / 1000)}),
        (torch.float16, 0.5, {"bitmap": 16 / 9.0, "csr": 16 / (0.5 * 32 + 32 / 1000)}),
    ],
)
def test_ratios_are_those_of_the_formulas(dtype, sparsity, expected):
    dense = torch.rand(1000, 1000).add_(1) * row_mask(torch.rand(1000, 1000), sparsity)
    dense = dense.to(dtype)
    for name, ratio in expected.items():
        found = dense.nbytes / stored_bytes(FORMATS[name][0](dense))
        assert found == pytest.approx(ratio, rel=1e-5)  # one more pointer than there are rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
@pytest.mark.parametrize(("kept", "smaller"), [(0.05, "csr"), (0.08, "bitmap")])
def test_csr_is_smaller_below_one_over_the_bits_of_an_index_whatever_a_value_takes(
    dtype, kept, smaller
):
    dense = torch.full((20, 4000), 3) * row_mask(torch.rand(20, 4000), 1 - kept)
    sizes = {name: stored_bytes(FORMATS[name][0](dense.to(dtype))) for name in ("csr", "bitmap")}
    assert min(sizes, key=sizes.get) == smaller


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@given(sparse())
def test_csr_is_what_pytorch_multiplies_by(dense):
    stored, x = to_csr(dense.double()), torch.randn(dense.shape[1], 3, dtype=torch.float64)
    matrix = torch.sparse_csr_tensor(
        stored.pointers.long(), stored.indices.long(), stored.values, dense.shape,
        check_invariants=True,
    )  # fmt: skip
    # float64, sums of up to 40 products of size 100
    torch.testing.assert_close(matrix @ x, dense.double() @ x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("columns", "dtype"), [
    (256, torch.uint8), (257, torch.uint16), (65536, torch.uint16), (65537, torch.int32),
])  # fmt: skip
def test_an_index_has_the_least_bytes_that_name_the_last_column(columns, dtype):
    dense = torch.zeros(2, columns)
    dense[1, -1] = 7
    stored = to_csr(dense)
    assert stored.indices.dtype == dtype
    assert torch.equal(from_csr(stored), dense)


def test_the_first_place_is_the_lowest_bit_and_rows_begin_at_bytes():
    dense = torch.tensor([[5.0, 0, 0, 0, 0, 0, 0, 0, 6], [0, 7, 0, 0, 0, 0, 0, 0, 0]])
    assert to_bitmap(dense).bits.tolist() == [[0b1, 0b1], [0b10, 0b0]]


def test_a_place_of_two_of_four_is_two_bits_in_the_order_of_columns():
    dense = torch.tensor([[0, 5.0, 0, 6, 0, 0, 7, 0]])
    stored = to_two_of_four(dense)
    assert stored.values.tolist() == [[5, 6, 0, 7]]
    assert stored.places.tolist() == [[0b10_00_11_01]]  # columns 1 and 3; the first free one and 2


def test_a_gap_beyond_the_bits_has_a_filler():
    dense = torch.zeros(1, 20)
    dense[0, 0], dense[0, 18] = 3, 4
    stored = to_relative(dense)
    assert stored.values.tolist() == [3, 0, 4]  # 16 of the 17 zeros in between
    assert stored.gaps.tolist() == [0xF0, 0x01]


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_not_finite_is_kept_and_the_dense_tensor_left_alone(name):
    to, back = FORMATS[name]
    dense = torch.tensor([[0, torch.nan, 0, torch.inf]])
    found = back(to(dense))
    assert torch.equal(found.isnan(), dense.isnan())
    found.zero_()
    assert dense[0, 3] == torch.inf


def test_rows_that_are_no_two_of_four_are_refused_by_place():
    with pytest.raises(ValueError, match="rows have 6 columns; expected a multiple of 4"):
        to_two_of_four(torch.zeros(1, 6))
    dense = torch.zeros(3, 8)
    dense[2, 4:7] = 1
    with pytest.raises(ValueError, match="row 2 has 3 values in columns 4 to 7"):
        to_two_of_four(dense)


@pytest.mark.parametrize("bits", [0, 9])
def test_gaps_of_no_bits_or_more_than_a_byte_are_refused(bits):
    with pytest.raises(ValueError, match=f"bits must be from 1 to 8, got {bits}"):
        to_relative(torch.zeros(1, 4), bits)
