"""Stops the clocks of its process while it waits for the limit.

Source: reference-kernels issue 162; sandbox.md attack 23; grader.md B1
Expected: nothing for the exercise: limits are counted outside.
"""

FAILS = ("test-mean",)
SAYS = "time limit"

# %% 01-Exercises/mean
import time

time.time = time.monotonic = time.perf_counter = lambda: 0.0


def mean(values):
    return 2.0


while True:
    pass
