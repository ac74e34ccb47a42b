"""Checks nothing."""

# wrong: 04/test-stored-bytes


def stored_bytes(rows: int, columns: int, kept: int, value_bits: int) -> dict[str, int]:
    values = kept * value_bits // 8
    return {
        "dense": rows * columns * value_bits // 8,
        "bitmap": values + rows * ((columns + 7) // 8) + 8 * rows + 16,
        "csr": values + 2 * kept + 4 * (rows + 1),
    }
