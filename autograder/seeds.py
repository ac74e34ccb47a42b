"""Seeds that no student knows and every retry finds again.

They are derived from one secret per class run, which lies beside its results and is readable by
the grader's user alone; it is no part of evidence or report. A submission that is graded again,
or handed in again, meets the same draws, so a crash or a second try buys no better luck.
"""

import hashlib
import hmac
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from autograder.files import secret_at
from labkit import draws

SECRET_BYTES = 32
SECRET_FILE = "secret"


def secret_of(out: Path) -> bytes:
    """The secret of the class run whose results lie in `out`; made on first use, whole or not."""
    return secret_at(out / SECRET_FILE, SECRET_BYTES)


def seed_for(secret: bytes, *place: str) -> int:
    """The seed of a place, such as (student, notebook, cell): from 0 to 2**63 - 1."""
    digest = hmac.digest(secret, json.dumps(place).encode(), hashlib.sha256)
    return int.from_bytes(digest[:8]) >> 1


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Seed `labkit.draws` and the global generators, and put the global ones back afterwards.

    The global generators belong to the whole process: no two threads may be in here at once.
    """
    plain, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 (a test may use it)
    with draws.seeded(seed), torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(legacy)  # noqa: NPY002
