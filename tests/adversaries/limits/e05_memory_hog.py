"""Allocates until nothing is left.

Source: nbgrader issue 1429; grader.md E5
Expected: nothing for the exercise; the others are graded.
"""

FAILS = ("test-mean",)

# %% 01-Exercises/mean
hoard = []
while True:
    hoard.append(bytearray(256 * 1024 * 1024))
