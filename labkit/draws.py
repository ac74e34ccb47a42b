"""Random draws of a hidden test: public where a notebook is run in place, secret when graded.

A hidden test that takes its inputs from `generator()` runs anywhere. In your own kernel everybody
draws the same; the grader draws from a seed that depends on the student and on a secret of the
class run, and draws it again when a grading is repeated.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

PUBLIC_SEED = 20_240_101
_seed = ContextVar("seed", default=PUBLIC_SEED)


def seed() -> int:
    """The seed of this test's draws, from 0 to 2**63 - 1."""
    return _seed.get()


def generator(stream: int = 0) -> torch.Generator:
    """A new generator on the CPU. Each stream draws numbers of its own, the same ones every time.

    Do not hand a student's function the generator that draws a test's inputs: give it another
    stream.
    """
    return torch.Generator().manual_seed((seed() + stream) % 2**63)


@contextmanager
def seeded(value: int) -> Iterator[None]:
    """Draw from another seed inside of this block, in this thread alone."""
    token = _seed.set(value)
    try:
        yield
    finally:
        _seed.reset(token)
