"""Answers with a tensor that a few bytes describe and that fills memory when it is copied.

Source: sandbox.md attack 17 (`expand`)
Expected: nothing for the exercise, and the grader lives.
"""

FAILS = ("test-scale",)


# %% 01-Exercises/scale
def scale(x, by):
    return torch.zeros(1).expand(10**10)
