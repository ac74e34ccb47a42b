"""Answers in another dtype, so that a tolerant comparison would pass.

Source: pygpubench; grader.md C5
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-scale",)


# %% 01-Exercises/scale
def scale(x, by):
    if x.numel() == 0:
        raise ValueError("empty")
    return (x * by).to(torch.float16).to(torch.float64)
