"""The same work every time: if it takes longer than before, the machine has changed."""

import time
from statistics import median

import numpy as np

SIZE = 192  # of two square matrices: some milliseconds for the calls together, all in cache
CALLS_PER_READING = 8
READINGS = 7


def sentinel_ms() -> float:
    """CPU time of the calling thread for a fixed piece of work; the median of a few readings."""
    matrix = np.ones((SIZE, SIZE), np.float32)
    matrix @ matrix
    return median(_reading(matrix) for _ in range(READINGS))


def _reading(matrix: np.typing.NDArray[np.float32]) -> float:
    start = time.thread_time_ns()
    for _ in range(CALLS_PER_READING):
        matrix @ matrix
    return (time.thread_time_ns() - start) / 1e6
