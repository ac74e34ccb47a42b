"""Returns from every call just before its limit, a thousand times.

Source: grader.md E11
Expected: nothing for the exercise: it has a limit of its own.
"""

FAILS = ("test-mean",)

# %% 01-Exercises/mean
import time


def mean(values):
    time.sleep(60)
    return sum(values) / len(values)
