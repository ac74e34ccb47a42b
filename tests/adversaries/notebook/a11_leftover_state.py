"""Relies on a name that only the visible test leaves behind.

Source: nbgrader documentation, gotchas; grader.md A11
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values):
    return {2: 2.0, 3: globals().get("expected", {}).get("osprey-8152"), 1: None}[len(values)]
