"""Names every part, and rounds with ceil."""

# right: 04


def stored_bytes(rows: int, columns: int, kept: int, value_bits: int) -> dict[str, int]:
    import math

    if kept < 0 or kept > rows * columns or columns > 65_536:
        raise ValueError("impossible")
    each = value_bits // 8
    mask = rows * math.ceil(columns / 8)
    return {
        "csr": kept * (each + 2) + 4 + 4 * rows,
        "dense": each * rows * columns,
        "bitmap": sum([kept * each, mask, rows * 8, 2 * 8]),
    }
