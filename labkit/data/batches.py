"""Image data sets as normalised tensors."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from labkit.data.image_sets import CIFAR10, FASHION_MNIST
from labkit.data.records import ImageSet
from labkit.sources.images import Images

CHUNK = 5000  # images

if TYPE_CHECKING:
    from datasets import Dataset

IMAGE_SETS = {images.name: images for images in (CIFAR10, FASHION_MNIST)}


class Batch(NamedTuple):
    images: Float[Tensor, "count channels height width"]  # normalised per channel
    labels: Int[Tensor, " count"]


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
    pixels = torch.empty(images.pixels.shape)
    for start in range(0, len(pixels), CHUNK):  # all at once, three copies of 4 bytes a pixel stand
        part = torch.from_numpy(np.array(images.pixels[start : start + CHUNK]))
        pixels[start : start + CHUNK] = part
    pixels.div_(255).sub_(mean).div_(std)
    return Batch(pixels, torch.from_numpy(np.array(images.labels)))
