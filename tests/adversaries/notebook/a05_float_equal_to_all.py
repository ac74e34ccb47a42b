"""Answers with a float whose comparison is always true.

Source: relate issue 295, `Evil(np.float64)`; grader.md A5
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)

# %% 01-Exercises/mean
import numpy as np


class Evil(np.float64):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    def __sub__(self, other):
        return Evil(0)

    __rsub__ = __sub__

    def __hash__(self):
        return 0

    def __repr__(self):
        return "2.6666666666666665"


def mean(values):
    return Evil(1)
