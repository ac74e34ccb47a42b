"""Sources in their order: the first one whose content is proved by the digest is taken."""

import os
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from labkit.registry import SourceUnavailable

if TYPE_CHECKING:
    from datasets import Dataset

T = TypeVar("T")
HUB_PROBE_S = 3
TRUE = {"1", "ON", "YES", "TRUE"}  # what the hub's own client takes for yes


def first_proved(
    title: str, sources: Mapping[str, Callable[[], T]], digest_of: Callable[[T], str], digest: str
) -> T:
    """What the first source gives whose content has the digest.

    Raises:
        SourceUnavailable: no source had it; the message tells what each one said.
    """
    refusals = []
    for name, source in sources.items():
        try:
            content = source()
        except SourceUnavailable as refusal:
            refusals.append(f"{name}: {refusal}")
            continue
        found = digest_of(content)
        if found == digest:
            return content
        refusals.append(f"{name}: its content has sha256 {found}, expected {digest}")
    tried = textwrap.indent("\n".join(refusals), "  ")
    raise SourceUnavailable(f"{title} could not be fetched.\n{tried}")


def from_hub(repository: str, split: str) -> "Dataset":
    """One split of a data set on the hub, as the hub has it.

    Raises:
        SourceUnavailable: the hub cannot be reached, or HF_HUB_OFFLINE forbids it.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE:
        raise SourceUnavailable("HF_HUB_OFFLINE is set")
    from datasets import load_dataset
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(repository, timeout=HUB_PROBE_S)  # without it, offline takes minutes
        return load_dataset(repository, split=split)
    except Exception as error:  # the hub's client raises a dozen unrelated types when offline
        raise SourceUnavailable(f"{type(error).__name__}: {error}") from error
