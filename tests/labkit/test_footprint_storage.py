"""Bytes of one stored tensor, with values and without zeros."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit import footprint
from labkit.footprint import Bitmap, Codebook, Csr, Dense, Grouped, Parts, RelativeIndex, TwoOfFour
from labkit.footprint.tensors import StoredTensor

SIZES = st.integers(1, 300)
BITS = st.integers(1, 16)
DENSITIES = st.floats(0, 1)


def _matrix(outputs: int, inputs: int) -> StoredTensor:
    return StoredTensor("w", (outputs, inputs), "linear", True, outputs, 32, True, ("w",))


def _bits(storage: footprint.Storage, matrix: StoredTensor) -> float:
    return 8 * storage.parts(matrix).total / matrix.elements


@pytest.mark.parametrize(
    ("storage", "printed"),
    [
        (Grouped(4, 128, 16), "4.125"),
        (Grouped(4, 128, 16, zero_bits=4), "4.156"),
        (Grouped(4, 128, 16, zero_bits=16), "4.250"),
        (Grouped(4, 32, 16), "4.500"),  # GGUF's Q4_0 too
        (Grouped(4, 32, 16, zero_bits=4), "4.625"),
        (Grouped(3, 128, 16, zero_bits=3), "3.148"),
        (Grouped(2, 64, 16, zero_bits=2), "2.281"),
    ],
)
def test_bits_per_weight_are_those_of_the_formula(storage: Grouped, printed: str) -> None:
    """b + (b_s + b_z) / g, where nothing has to be rounded up: 4096 divides into all of these."""
    assert f"{_bits(storage, _matrix(4096, 4096)):.3f}" == printed


def test_what_does_not_fit_is_rounded_up_row_by_row() -> None:
    """Each of 3 rows: 5 codes of 2 bits, 2 bytes; groups of 2, 2 and 1; 3 zero points of 3 bits,
    2 bytes. The 9 scales of 3 bits are one run of 27 bits, 4 bytes."""
    parts = Grouped(2, group_size=2, scale_bits=3, zero_bits=3).parts(_matrix(3, 5))
    assert parts == Parts(codes=6, scales=4, zero_points=6)


def test_a_codebook_is_counted_as_in_deep_compression() -> None:
    """Han et al. 2016, figure 3: 16 weights, 4 clusters, 16 * 32 / (16 * 2 + 4 * 32) = 3.2."""
    stored = Codebook(bits=2).parts(_matrix(4, 4))
    assert stored == Parts(codes=4, codebook=16)
    assert Dense(32).parts(_matrix(4, 4)).total / stored.total == 3.2


@given(SIZES, SIZES, BITS, st.integers(1, 64) | st.none(), st.integers(0, 32), st.integers(0, 8))
def test_more_bits_never_take_fewer_bytes(
    outputs: int, inputs: int, bits: int, group: int | None, scale: int, zero: int
) -> None:
    matrix = _matrix(outputs, inputs)
    less = Grouped(bits, group, scale, zero).parts(matrix).total
    for more in ((bits + 1, scale, zero), (bits, scale + 1, zero), (bits, scale, zero + 1)):
        assert less <= Grouped(more[0], group, *more[1:]).parts(matrix).total
    assert Dense(bits).parts(matrix).total <= less


@given(SIZES, SIZES, BITS, st.integers(1, 64), st.integers(1, 32))
def test_larger_groups_never_take_more_bytes(
    outputs: int, inputs: int, bits: int, group: int, scale: int
) -> None:
    matrix = _matrix(outputs, inputs)
    small, large = (Grouped(bits, size, scale, bits) for size in (group, group + 1))
    assert large.parts(matrix).total <= small.parts(matrix).total
    assert Grouped(bits, None, scale, bits).parts(matrix) == Grouped(
        bits, inputs, scale, bits
    ).parts(matrix)


@given(SIZES, SIZES, BITS, DENSITIES, DENSITIES)
def test_sparse_bytes_rise_with_bits_and_density(
    outputs: int, inputs: int, bits: int, one: float, other: float
) -> None:
    matrix, (low, high) = _matrix(outputs, inputs), sorted((one, other))
    for make in (Bitmap, lambda d, v: Csr(d, v, 16), lambda d, v: RelativeIndex(d, 0.0, v)):
        stored = make(low, bits).parts(matrix).total
        assert stored <= make(low, bits + 1).parts(matrix).total
        assert stored <= make(high, bits).parts(matrix).total


@given(SIZES, SIZES, BITS, DENSITIES)
def test_nothing_goes_below_the_entropy_bound(
    outputs: int, inputs: int, bits: int, density: float
) -> None:
    """With the density that rounding leaves; 1e-9 for the logarithm."""
    matrix = _matrix(outputs, inputs)
    kept = round(density * matrix.elements)
    bound = footprint.entropy_bound(kept / matrix.elements, bits)
    assert _bits(Bitmap(density, bits), matrix) >= bound - 1e-9
    assert _bits(Csr(density, bits, 16), matrix) >= kept / matrix.elements * bits


# Share of zeros, bits of a value, and the ratio to those bits as printed, cut to its digits.
# Rows of 65,536 places, the most that 16 bits can name: CSR's pointers, which the printed ratios
# leave out, are 0.0005 bits per place there.
RATIOS = (
    (0.5, 16, "bitmap", "1.78"), (0.5, 16, "csr16", "1.0"), (0.5, 16, "csr32", "0.67"),
    (0.7, 32, "bitmap", "3.02"), (0.7, 32, "csr32", "1.67"),
    (0.8, 32, "bitmap", "4.32"), (0.8, 32, "csr32", "2.5"),
    (0.9, 32, "bitmap", "7.62"), (0.9, 32, "csr32", "5.0"), (0.9, 32, "csr16", "6.67"),
    (0.9, 32, "entropy", "8.72"), (0.9, 32, "naive", "10"),
    (0.9, 16, "bitmap", "6.15"), (0.9, 16, "csr32", "3.33"), (0.9, 16, "csr16", "5.0"),
    (0.9, 8, "bitmap", "4.44"), (0.9, 8, "csr32", "2.0"), (0.9, 8, "csr16", "3.33"),
    (0.95, 32, "bitmap", "12.31"), (0.95, 32, "csr32", "10"), (0.95, 32, "csr16", "13.33"),
    (0.5, 16, "2:4", "1.78"), (0.5, 8, "2:4", "1.6"), (0.5, 4, "2:4", "1.33"),
)  # fmt: skip
WIDE = _matrix(64, 2**16)


@pytest.mark.parametrize(("zeros", "bits", "how", "printed"), RATIOS)
def test_a_sparse_format_reaches_the_printed_ratio(
    zeros: float, bits: int, how: str, printed: str
) -> None:
    """Rounded half up to the printed digits: 7.619 is 7.62, 12.308 is 12.31, 1.778 is 1.78."""
    density = 1 - zeros
    bits_per_place = {
        "bitmap": lambda: _bits(Bitmap(density, bits), WIDE),
        "csr16": lambda: _bits(Csr(density, bits, 16), WIDE),
        "csr32": lambda: _bits(Csr(density, bits, 32), WIDE),
        "2:4": lambda: _bits(TwoOfFour(bits), WIDE),
        "entropy": lambda: footprint.entropy_bound(density, bits),
        "naive": lambda: density * bits,
    }[how]()
    digits = len(printed.partition(".")[2])
    assert f"{bits / bits_per_place:.{digits}f}" == printed


def test_small_sparse_tensors_to_the_byte() -> None:
    """3 rows of 5, 7 of 15 kept, values of 3 bits: 21 bits, 3 bytes.

    Masks: a byte per row. CSR: 7 indices of 4 bits, 28 bits, and 4 pointers of 2 bytes. The entries
    of a relative index are 9 with two fillers: 27 bits and 36."""
    matrix = _matrix(3, 5)
    assert Bitmap(7 / 15, 3).parts(matrix) == Parts(codes=3, positions=3)
    assert Csr(7 / 15, 3, 4, pointer_bits=16).parts(matrix) == Parts(codes=3, positions=4 + 8)
    assert RelativeIndex(7 / 15, 2 / 15, 3).parts(matrix) == Parts(codes=4, positions=5)
    assert TwoOfFour(3).parts(_matrix(3, 12)) == Parts(codes=3 * 3, positions=3 * 2)


def test_pointers_cost_csr_a_percent_where_rows_are_4096_wide() -> None:
    """95 % zeros in FP32, 16-bit indices: 13.33 without pointers of 32 bits per row, 13.29 with."""
    assert f"{32 / _bits(Csr(0.05, 32, 16), _matrix(4096, 4096)):.2f}" == "13.29"


def test_a_csr_that_could_not_be_read_back_is_refused() -> None:
    with pytest.raises(ValueError, match=r"w has 257 columns; indices of 8 bits reach 256"):
        Csr(0.5, 32, 8).parts(_matrix(2, 257))
    with pytest.raises(ValueError, match=r"w keeps 256 values; pointers of 8 bits reach 255"):
        Csr(1.0, 32, 8, pointer_bits=8).parts(_matrix(1, 256))


def test_two_of_four_needs_fours() -> None:
    with pytest.raises(ValueError, match="w has 6 columns; expected fours"):
        TwoOfFour(16).parts(_matrix(4, 6))


def _relative(kept: list[bool], bits: int) -> list[tuple[int, bool]]:
    """Han et al., EIE, section III: zeros before each entry, and whether it is a value."""
    entries, zeros = [], 0
    for place in kept:
        if place or zeros == 2**bits - 1:
            entries.append((zeros, place))
            zeros = 0
        else:
            zeros += 1
    while entries and not entries[-1][1]:  # nothing follows that it would lead to
        entries.pop()
    return entries


@given(st.lists(st.booleans() | st.just(False), max_size=200), st.integers(1, 4))
def test_fillers_are_those_of_an_encoder(kept: list[bool], bits: int) -> None:
    entries = _relative(kept, bits)
    fillers = sum(not value for _, value in entries)
    assert footprint.fillers_of(torch.tensor(kept, dtype=torch.bool), bits) == fillers


def test_the_example_of_eie_has_one_filler() -> None:
    """[0, 0, 1, 2, 18 zeros, 3, ...]: v = [1, 2, 0, 3], z = [2, 0, 15, 2]."""
    kept = [False] * 2 + [True] * 2 + [False] * 18 + [True]
    assert [zeros for zeros, _ in _relative(kept, 4)] == [2, 0, 15, 2]
    assert footprint.fillers_of(torch.tensor(kept)) == 1
    density = RelativeIndex(3 / 23, 1 / 23, value_bits=4)
    assert density.parts(_matrix(1, 23)) == Parts(codes=2, positions=2)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
def test_fillers_of_random_places_are_as_many_as_expected(density: float) -> None:
    """On a million places; five standard deviations, each filler taken as a rare event."""
    places = 1_000_000
    kept = torch.rand(places, generator=torch.Generator().manual_seed(0)) < density
    expected = footprint.fillers_at_random(density) * places
    assert abs(footprint.fillers_of(kept) - expected) < 5 * expected**0.5 + 1


def test_a_tensor_without_values_needs_no_fillers() -> None:
    assert footprint.fillers_at_random(0.0) == 0
    assert footprint.fillers_of(torch.zeros(100, dtype=torch.bool)) == 0
