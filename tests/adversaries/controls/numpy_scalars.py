"""Answers are numpy numbers, a tuple's list, a str of a slice: plain enough.

Source: control
Expected: all points, no finding.
"""

SILENT = True

# %% 01-Exercises/mean
import numpy as np


def mean(values):
    return np.float64(sum(values) / len(values))


# %% 01-Exercises/ranks
def ranks(values):
    return list(tuple(int(np.searchsorted(sorted(values), v)) for v in values))
