"""Pictures as the pretrained vision models expect them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


class Preparation(NamedTuple):
    """Scale the shorter side, cut out the centre, and shift and scale the values 0..255."""

    shorter_side: int  # pixels
    crop: int  # pixels
    mean: float
    divisor: float


def prepare(
    pictures: "Sequence[Image]", preparation: Preparation
) -> Float[Tensor, "count 3 crop crop"]:
    """One batch of pictures of any size and mode, resampled bicubically."""
    pixels = np.stack([_cropped(picture, preparation) for picture in pictures])
    values = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    return (values - preparation.mean) / preparation.divisor


def _cropped(picture: "Image", preparation: Preparation) -> np.ndarray:
    from PIL.Image import Resampling

    factor = preparation.shorter_side / min(picture.size)
    width, height = (round(side * factor) for side in picture.size)
    scaled = picture.convert("RGB").resize((width, height), Resampling.BICUBIC)
    left, top = (width - preparation.crop) // 2, (height - preparation.crop) // 2
    box = (left, top, left + preparation.crop, top + preparation.crop)
    return np.asarray(scaled.crop(box))
