"""Rewrites the test cell to pass, and keeps its id.

Source: nbgrader issue 6; grader.md A2
Expected: nothing for the exercise: tests are ours.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


# %% 01-Exercises/test-mean
assert True
