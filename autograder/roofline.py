"""The shortest time in which any machine of this kind could answer: faster is not believed.

Ceilings are optimistic on purpose. A floor that is too low lets a measurement through that other
checks will catch; one that is too high would call an honest model a forgery.
"""

from collections.abc import Sequence

from autograder.operations import Product

CYCLES_PER_S = 6e9  # no processor that is sold turns faster for long
BYTES_PER_CYCLE = 128.0  # from the first-level cache: two loads of 64 bytes
WINOGRAD = 4.0  # products that a convolution can save in floating point (Lavin and Gray 2016)
# Products per cycle of one core, in floating point and in integers of at most 8 bits: width of
# the vectors times the units that there are (two for fused multiply-add, one tile unit for AMX).
PRODUCTS_PER_CYCLE = {
    "amx_int8": (64.0, 1024.0),
    "avx512_vnni": (64.0, 256.0),
    "avx_vnni": (32.0, 128.0),
    "avx512f": (64.0, 128.0),
    "avx2": (32.0, 64.0),
}
UNKNOWN = (64.0, 1024.0)  # Arm and what else there is: as fast as the fastest of the list


def floor_ms(
    products: Sequence[Product], weight_bytes: int, batch: int, isa: Sequence[str]
) -> float:
    """No thread answers a batch faster than this, in milliseconds.

    Args:
        products: of one example.
        weight_bytes: of the model; each is read once per batch.
        isa: the processor's flags, as records.Machine has them.
    """
    known = [PRODUCTS_PER_CYCLE[flag] for flag in isa if flag in PRODUCTS_PER_CYCLE]
    floating = max((rate for rate, _ in known), default=UNKNOWN[0]) * WINOGRAD
    integer = max((rate for _, rate in known), default=UNKNOWN[1])
    cycles = sum(batch * p.macs / (integer if p.weight_bits <= 8 else floating) for p in products)
    return 1e3 * max(cycles, weight_bytes / BYTES_PER_CYCLE) / CYCLES_PER_S
