"""Which model a lab uses for what, on two cores and on a GPU; LABKIT_TIER chooses between them."""

import os
from typing import NamedTuple

from labkit.pretrained.entries import Tier


class Role(NamedTuple):
    """The name of a pretrained model or of a shipped baseline, per tier."""

    cpu: str
    gpu: str


ROLES = {
    "encoder": Role(cpu="minilm", gpu="bert_large"),
    "vision": Role(cpu="vit_cifar10", gpu="vit_b16"),
    "language_model": Role(cpu="llama_sotu", gpu="mistral_7b"),
}
# The shipped baselines among them, and the tokenizer of each that reads text.
SHIPPED: dict[str, str | None] = {"vit_cifar10": None, "llama_sotu": "state_of_the_union"}


def role(name: str) -> str:
    """The name of the model that has a role in the present tier; `load` takes it.

    Raises:
        ValueError: an unknown role or tier.
    """
    if name not in ROLES:
        raise ValueError(f"there is no role {name!r}; there are {', '.join(ROLES)}")
    chosen = ROLES[name]
    return chosen.gpu if tier() == "gpu" else chosen.cpu


def tier() -> Tier:
    """The tier that the environment variable LABKIT_TIER names; cpu where it is not set.

    Raises:
        ValueError: it names another tier.
    """
    chosen = os.environ.get("LABKIT_TIER", "cpu")
    if chosen == "cpu":
        return "cpu"
    if chosen == "gpu":
        return "gpu"
    raise ValueError(f"LABKIT_TIER is {chosen!r}; expected 'cpu' or 'gpu'")
