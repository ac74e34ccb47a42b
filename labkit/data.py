"""The data sets of the course, each a `datasets.Dataset` that is the same on every machine.

Students get `train` and `validation`. The test part is read by the grader alone
(autograder/hidden.py), and is never written to the cache that this module reads.
"""

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from labkit import sources
from labkit.sources import Images

if TYPE_CHECKING:
    from datasets import Dataset

Split = Literal["train", "validation"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageSet:
    """One set of labelled images: what is true of it, wherever it was fetched."""

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # channels, height, width
    mean: tuple[float, ...]  # per channel, of train pixels scaled to 0..1
    std: tuple[float, ...]
    validation_count: int
    train_digest: str  # sha256 of the canonical train part, before validation is split off
    test_digest: str
    licence: str
    citation: str


class Batch(NamedTuple):
    images: Float[Tensor, "count channels height width"]  # normalised per channel
    labels: Int[Tensor, " count"]


CIFAR10 = ImageSet(
    name="cifar10",
    classes=(
        "airplane", "automobile", "bird", "cat", "deer",
        "dog", "frog", "horse", "ship", "truck",
    ),
    shape=(3, 32, 32),
    mean=(0.49140, 0.48216, 0.44653),
    std=(0.24703, 0.24349, 0.26159),
    validation_count=5000,
    train_digest="6f032f388eb77a410d57c4ff59323c32bcd5af22c8530543df9da4e6e17f1d0d",
    test_digest="2a58632f9c193e571e17850656e8fe941d743a95af406a2084f8cfd0c18b4783",
    licence="no formal licence; use with citation, do not ship again",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
)  # fmt: skip

FASHION_MNIST = ImageSet(
    name="fashion_mnist",
    classes=(
        "t-shirt", "trouser", "pullover", "dress", "coat",
        "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    shape=(1, 28, 28),
    mean=(0.28604,),
    std=(0.35302,),
    validation_count=5000,
    train_digest="db1c6b068c34cf695209647c84d9a5e8453d8446a204b0f84474d26aa6e49a82",
    test_digest="235790bd81a31e69dde79b88d4441d691358ae6aca5db203f652cb01b5e66221",
    licence="MIT (Zalando SE)",
    citation="Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, arXiv:1708.07747",
)  # fmt: skip

IMAGE_SETS = {images.name: images for images in (CIFAR10, FASHION_MNIST)}


def load(image_set: ImageSet, split: Split) -> "Dataset":
    """One split of an image set, from the cache; fetched and verified on first use."""
    if split not in ("train", "validation"):
        raise ValueError(f"split is {split!r}; students have 'train' and 'validation'")
    from datasets import load_from_disk

    folder = cache_folder() / image_set.name
    if not folder.is_dir():
        _fill_cache(image_set, folder)
    return load_from_disk(str(folder / split))


def cifar10(split: Split) -> "Dataset":
    """50,000 colour images of 32 x 32 pixels in 10 classes: 45,000 train, 5,000 validation."""
    return load(CIFAR10, split)


def fashion_mnist(split: Split) -> "Dataset":
    """60,000 grey images of 28 x 28 pixels in 10 classes: 55,000 train, 5,000 validation."""
    return load(FASHION_MNIST, split)


def batch(rows: "Dataset") -> Batch:
    """All rows of an image data set as one normalised batch.

    Raises:
        ValueError: the data set is not one of this course's image sets.
    """
    image_set = IMAGE_SETS.get(rows.info.dataset_name or "")
    if image_set is None:
        raise ValueError(
            f"dataset_name is {rows.info.dataset_name!r}; expected one of {sorted(IMAGE_SETS)}"
        )
    table = rows.with_format("arrow")[:]
    pixels = table["image"].combine_chunks().storage.flatten().flatten().flatten()
    images = Images(
        pixels.to_numpy(zero_copy_only=False).reshape(-1, *image_set.shape),
        table["label"].to_numpy(),
    )
    return normalise(image_set, images)


def normalise(image_set: ImageSet, images: Images) -> Batch:
    """Pixels 0..255 to zero mean and unit variance per channel, as every baseline expects."""
    mean = torch.tensor(image_set.mean).view(-1, 1, 1)
    std = torch.tensor(image_set.std).view(-1, 1, 1)
    pixels = torch.from_numpy(np.array(images.pixels))
    return Batch((pixels.float() / 255 - mean) / std, torch.from_numpy(np.array(images.labels)))


def cache_folder() -> Path:
    """Where decoded data sets are kept; LABKIT_CACHE overrides it."""
    default = Path.home() / ".cache" / "labkit"
    return Path(os.environ.get("LABKIT_CACHE", default))


def _fill_cache(image_set: ImageSet, folder: Path) -> None:
    log.info("fetching %s (once; kept in %s)", image_set.name, folder)
    images = sources.fetch(image_set.name, "train", image_set.train_digest)
    count = image_set.validation_count
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its final place and renamed, so that an interrupted run leaves no half cache.
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for split, part in (("train", slice(count, None)), ("validation", slice(None, count))):
            rows = _to_dataset(image_set, Images(images.pixels[part], images.labels[part]))
            rows.save_to_disk(f"{scratch}/{image_set.name}/{split}")
        shutil.move(f"{scratch}/{image_set.name}", folder)


def _to_dataset(image_set: ImageSet, images: Images) -> "Dataset":
    from datasets import Array3D, ClassLabel, Dataset, DatasetInfo, Features

    features = Features(
        image=Array3D(image_set.shape, "uint8"), label=ClassLabel(names=list(image_set.classes))
    )
    info = DatasetInfo(
        dataset_name=image_set.name,
        license=image_set.licence,
        citation=image_set.citation,
        features=features,
    )
    return Dataset.from_dict(
        {"image": images.pixels, "label": images.labels}, features=features, info=info
    )
