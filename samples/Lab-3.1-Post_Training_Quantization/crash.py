"""One exercise crashes in native code, one calls exit(): only these two are lost."""

# %% 01-Setup_and_Basic_Quantization/sqnr
import ctypes


def sqnr(x: Tensor, approximation: Tensor) -> float:
    """Reads the address 0."""
    return ctypes.string_at(0)


# %% 02-Static_Quantization/percentile-range
def percentile_range(batches: list[Tensor], percent: float) -> tuple[float, float]:
    """Ends the program, as if it were a script."""
    raise SystemExit(0)
