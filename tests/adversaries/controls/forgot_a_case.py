"""Right but for what only the hidden tests ask: ties, and the empty tensor.

Source: control
Expected: two exercises of four.
"""

FAILS = ("test-scale", "test-ranks")


# %% 01-Exercises/scale
def scale(x, by):
    return x * by


# %% 01-Exercises/ranks
def ranks(values):
    order = sorted(set(values))
    return [order.index(v) + (v == 9) * 0 for v in values]
