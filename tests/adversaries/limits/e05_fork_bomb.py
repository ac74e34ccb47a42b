"""Forks until nothing is left.

Source: nbgrader issue 1429; grader.md E5
Expected: nothing for the exercise; the others are graded.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


import os, time

try:
    for _ in range(5000):
        if os.fork() == 0:
            time.sleep(600)
except OSError:
    pass
