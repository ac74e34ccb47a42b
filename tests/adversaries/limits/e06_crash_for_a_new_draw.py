"""Crashes where the draw does not suit it, hoping for another one.

Source: grader.md E6
Expected: nothing for the exercise: every attempt draws the same.
"""

FAILS = ("test-scale",)

# %% 01-Exercises/scale
import os


def scale(x, by):
    if x.numel() == 0:
        raise ValueError("empty")
    if x.numel() > 2 and x.flatten()[0] > -9:
        os._exit(1)
    return x * by
