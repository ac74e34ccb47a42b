"""Shapes and dtypes in the signatures of `reference` are checked while its tests run."""

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("reference", "beartype.beartype")


@pytest.fixture(autouse=True)
def _one_thread_and_one_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
