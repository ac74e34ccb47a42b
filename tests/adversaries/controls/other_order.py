"""All functions stand in the first cell; the other solution cells hold comments.

Source: control
Expected: all points, no finding.
"""

SILENT = True


# %% 01-Exercises/scale
def ranks(values):
    return [sorted(values).index(v) for v in values]


def shout(text):
    return text.upper() + "!"


def mean(values):
    return sum(values) / len(values)


def scale(x, by):
    if x.numel() == 0:
        raise ValueError("empty")
    return x * by


# %% 01-Exercises/mean
# above

# %% 01-Exercises/shout
# above

# %% 01-Exercises/ranks
# above
