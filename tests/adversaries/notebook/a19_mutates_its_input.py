"""Overwrites its argument, hoping that the test compares with what it changed.

Source: KernelBot cheat-input.py; grader.md B19
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-scale",)


# %% 01-Exercises/scale
def scale(x, by):
    if x.numel() == 0:
        raise ValueError("empty")
    x.zero_()
    return x
