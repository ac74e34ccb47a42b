"""Kills every process that it can see, the first above all.

Source: pygpubench fd_overwrite; grader.md A7
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


import os, signal

for pid in [1, os.getppid(), *range(3, 400)]:
    if pid != os.getpid():
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
