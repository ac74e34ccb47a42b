"""What a lab's student code may read: data sets and pretrained models, fetched before it runs.

The sandbox has no network, so both are fetched outside of it and shown to it, read-only, where
labkit's cache is inside.
"""

from pathlib import Path

from autograder.lab import Lab
from autograder.sandbox import DATA
from labkit import data, pretrained


def fetch(lab: Lab) -> None:
    """Raises SourceUnavailable if something that is not here cannot be had."""
    for name in lab.datasets:
        data.load(data.SETS[name], "train")
    for name in lab.models:
        pretrained.folder(name)


def folders(lab: Lab) -> dict[str, Path]:
    """What is bound into the sandbox: the path inside, and the folder that it is."""
    sets = {f"{DATA}/{name}": data.cache_folder() / name for name in lab.datasets}
    return sets | {f"{DATA}/models/{name}": pretrained.folder(name) for name in lab.models}
