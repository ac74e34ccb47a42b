"""Answers with a shape that broadcasts against every expectation.

Source: grader.md C5
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-scale",)


# %% 01-Exercises/scale
def scale(x, by):
    if x.numel() == 0:
        raise ValueError("empty")
    return torch.empty(0)
