"""Replaces built-in functions and exceptions, so that nothing can be raised.

Source: KernelGuard; grader.md A6
Expected: nothing for the exercise: the grader's built-ins are its own.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


import builtins

builtins.AssertionError = builtins.print = lambda *args, **kwargs: None
builtins.isinstance = lambda *args: True
builtins.len = lambda thing: 1
