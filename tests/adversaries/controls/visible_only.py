"""Answers the visible tests by their constants.

Source: grader.md A3, naive
Expected: nothing.
"""

FAILS = ("test-scale", "test-mean", "test-shout", "test-ranks")


# %% 01-Exercises/scale
def scale(x, by):
    return torch.tensor([3.0, 3.0])


# %% 01-Exercises/mean
def mean(values):
    return 2.0


# %% 01-Exercises/shout
def shout(text):
    return "A!"


# %% 01-Exercises/ranks
def ranks(values):
    return [1, 0]
