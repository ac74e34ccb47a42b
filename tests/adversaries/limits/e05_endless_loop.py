"""Never returns from its cell.

Source: grader.md E5
Expected: nothing for the exercise, and a finding; the others are graded.
"""

FAILS = ("test-mean",)
SAYS = "time limit"

# %% 01-Exercises/mean
while True:
    pass
