"""Other helper names, other algorithms, a class inside, a lambda, an extra import.

Source: control
Expected: all points, no finding.
"""

SILENT = True

# %% 01-Exercises/scale
import numpy as np


class _Scaler:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return torch.from_numpy(x.numpy() * np.float32(self.factor))


def scale(x, by):
    if len(x) == 0:
        raise ValueError("nothing to scale")
    return _Scaler(by)(x)


# %% 01-Exercises/mean
import statistics

mean = statistics.fmean


def mean(values, _fmean=statistics.fmean):
    return _fmean(values)


# %% 01-Exercises/shout
shout = lambda text: "".join(map(str.upper, text)) + chr(33)


# %% 01-Exercises/ranks
def ranks(values):
    return [sum(other < value for other in values) for value in values]
