"""Prints without end.

Source: sandbox.md attack 12; grader.md E5
Expected: nothing for the exercise; the others are graded.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


import os, sys

for _ in range(300):
    print("flood " * 20_000)
