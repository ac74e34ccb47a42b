"""Lets many children allocate, each below the limit of one process.

Source: sandbox.md attack 5; grader.md E5
Expected: nothing for the exercise; the others are graded.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


import os, time

for _ in range(12):
    if os.fork() == 0:
        hoard = bytearray(700 * 1024 * 1024)
        time.sleep(1)
        os._exit(0)
