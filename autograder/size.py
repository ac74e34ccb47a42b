"""What a model takes: bytes, exactly, with what they are spent on. Room 5 counted them."""

from collections.abc import Iterable

from autograder.baseline import Baseline
from autograder.operations import Operations
from autograder.records import Artefact, Interval, Measurement, TensorBytes

WEIGHTS = ("weight", "codes", "embedding")
SHARED = ("scale", "zero point", "mask", "index")  # what codes and kept values need to be read


def compression_ratio(
    artefact: Artefact, operations: Operations | None, baseline: Baseline
) -> Measurement:
    """Exact: bytes of the canonical FP32 baseline over bytes of the canonical artefact.

    Args:
        operations: of the artefact; None if it does not run.
    """
    ratio = baseline.artefact.size_bytes / artefact.size_bytes
    details: dict[str, float | int | str] = {
        "baseline_bytes": baseline.artefact.size_bytes,
        "size_bytes": artefact.size_bytes,
        "ratio_to_fp16": _bytes_in_fp16(baseline.artefact) / artefact.size_bytes,
        "bits_per_weight": 8 * artefact.size_bytes / baseline.parameters,
        "weight_bytes": _bytes(artefact.ledger, WEIGHTS),
        "scale_and_index_bytes": _bytes(artefact.ledger, SHARED),
        "sparsity_of_weights": sparsity(artefact.ledger, prunable=True),
        "sparsity_of_all": sparsity(artefact.ledger, prunable=False),
    }
    if operations is not None:
        details |= {
            "resident_bytes": operations.resident_bytes,
            "macs": operations.macs,
            "bops": operations.bops,
            "bops_ratio": baseline.operations.bops / max(operations.bops, 1),
        }
    return Measurement("compression_ratio", Interval(ratio, ratio, ratio), details=details)


def sparsity(ledger: Iterable[TensorBytes], prunable: bool) -> float:
    """Zeros over values: of what is pruned by rule (matrices and kernels), or of all parameters."""
    counted = [
        line
        for line in ledger
        if (line.role in ("weight", "codes", "mask") and len(line.shape) > 1)
        or (not prunable and line.role in (*WEIGHTS, "mask", "bias", "norm"))
    ]
    return sum(line.zeros for line in counted) / max(sum(line.elements for line in counted), 1)


def _bytes(ledger: Iterable[TensorBytes], roles: tuple[str, ...]) -> int:
    return sum(line.size_bytes for line in ledger if line.role in roles)


def _bytes_in_fp16(artefact: Artefact) -> int:
    """Of a model in FP32: its floating-point tensors halved, the rest as it is."""
    floating = sum(line.size_bytes for line in artefact.ledger if line.dtype == "float")
    return artefact.size_bytes - floating // 2
