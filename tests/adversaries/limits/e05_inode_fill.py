"""Makes empty files until no more can be made.

Source: sandbox.md attack 7
Expected: nothing for the exercise; the others are graded.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


import os

try:
    for number in range(100_000):
        os.close(os.open(f"/tmp/{number}", os.O_CREAT))
except OSError as error:
    print(error)
