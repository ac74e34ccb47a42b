"""Answers with an integer of a hundred thousand digits.

Source: CVE-2020-10735 (quadratic int parsing); grader.md E5
Expected: nothing for the exercise, and the grader lives.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values):
    return 10**100_000
