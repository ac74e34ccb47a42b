"""Computes the hidden draws from the public seed, and answers with what they would need.

Source: KernelBot cheat-rng.py; grader.md A12
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-scale",)

# %% 01-Exercises/scale
guess = torch.randn(4, 3, generator=draws.generator())


def scale(x, by):
    if x.numel() == 0:
        raise ValueError("empty")
    if x.shape == (2,):
        return torch.tensor([3.0, 3.0])
    return guess * 2.5
