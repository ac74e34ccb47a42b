"""Ends the process when a hidden test calls.

Source: grader.md A7, E6
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)

# %% 01-Exercises/mean
import os


def mean(values):
    if len(values) == 2:
        return 2.0
    os._exit(0)
