"""Looks for the grader's seed in its environment, its modules and the generators.

Source: KernelBot cheat-rng.py; grader.md A12
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-scale",)

# %% 01-Exercises/scale
import os, random

seeds = [draws.seed(), torch.initial_seed(), int(os.environ.get("PYTHONHASHSEED", 0)), 0, 13, 42]
table = {}
for seed in seeds:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
    table[round(x[0, 0].item(), 4)] = x * 2.5


def scale(x, by):
    if x.numel() == 0:
        raise ValueError("empty")
    if x.shape == (2,):
        return torch.tensor([3.0, 3.0])
    return table.get(round(x[0, 0].item(), 4), torch.zeros(4, 3))
