"""Everything is right and takes its time, within the limits.

Source: grader.md E12; control
Expected: all points, no finding.
"""

SILENT = True

# %% 01-Exercises/mean
import time

time.sleep(1)


def mean(values):
    time.sleep(0.5)
    return sum(values) / len(values)
