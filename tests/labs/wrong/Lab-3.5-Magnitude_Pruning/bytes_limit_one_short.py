"""Refuses 65,536 columns, whose last has the number 65,535."""

# wrong: 04/test-stored-bytes


def stored_bytes(rows: int, columns: int, kept: int, value_bits: int) -> dict[str, int]:
    if not 0 <= kept <= rows * columns:
        raise ValueError(f"{kept} of {rows * columns} values cannot be kept")
    if columns >= 2**16:
        raise ValueError(f"16 bits hold the numbers of {2**16} columns, not of {columns}")
    values = kept * value_bits // 8
    return {
        "dense": rows * columns * value_bits // 8,
        "bitmap": values + rows * ((columns + 7) // 8) + 8 * rows + 16,
        "csr": values + 2 * kept + 4 * (rows + 1),
    }
