"""Writes a frame to the pipe whose header claims sixteen exabytes.

Source: grader.md E5; sandbox.md attack 15
Expected: nothing for the exercise, and the grader lives.
"""

FAILS = ("test-mean",)
SAYS = "no answer"


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


import os

for fd in range(3, 64):
    try:
        os.write(fd, b"\xff" * 16)
    except OSError:
        pass
