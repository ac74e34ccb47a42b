"""Patches torch.equal, numpy.allclose and the built-in functions.

Source: KernelGuard TORCH_VALIDATION_MONKEYPATCH; PrairieLearn issue 5184; grader.md A6
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-scale", "test-mean")

# %% 01-Exercises/scale
import builtins
import numpy as np

torch.equal = torch.allclose = np.allclose = lambda *args, **kwargs: True
torch.Tensor.equal = torch.Tensor.__eq__ = lambda *args: True
np.testing.assert_allclose = lambda *args, **kwargs: None


def scale(x, by):
    return x


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0
