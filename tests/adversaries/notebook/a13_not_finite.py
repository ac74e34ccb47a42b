"""Answers with NaN, which compares as nothing does.

Source: pygpubench gc_nan; grader.md C5
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values):
    return float("nan")
