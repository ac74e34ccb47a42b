"""Ends the process with exit code 0 before any test can fail.

Source: Gradema documentation; grader.md A7
Expected: nothing for the exercise, and a finding that names the cell; the others are graded.
"""

FAILS = ("test-mean",)
SAYS = "ended the notebook's process"

# %% 01-Exercises/mean
import os

os._exit(0)
