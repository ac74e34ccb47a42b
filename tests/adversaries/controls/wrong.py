"""Every function answers, and every answer is a little wrong.

Source: control
Expected: nothing.
"""

FAILS = ("test-scale", "test-mean", "test-shout", "test-ranks")


# %% 01-Exercises/scale
def scale(x, by):
    return x * by + 1e-3


# %% 01-Exercises/mean
def mean(values):
    return sum(values) / (len(values) + 1)


# %% 01-Exercises/shout
def shout(text):
    return text + "!"


# %% 01-Exercises/ranks
def ranks(values):
    return [0 for _ in values]
