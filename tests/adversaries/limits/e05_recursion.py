"""Recurses until the interpreter's stack ends, in Python and in C.

Source: grader.md E5
Expected: nothing for the exercise; the others are graded.
"""

FAILS = ("test-mean",)

# %% 01-Exercises/mean
import sys

sys.setrecursionlimit(10**9)


def mean(values):
    if len(values) == 2:
        return 2.0
    return mean(values)
