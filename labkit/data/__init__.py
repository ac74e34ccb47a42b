"""The data sets of the course, each a `datasets.Dataset` that is the same on every machine.

Students get `train` and `validation`. The hidden part is read by the grader alone
(autograder/hidden.py), and is never written to the cache that this package reads.
"""

from typing import TYPE_CHECKING, Literal

from labkit.data import cache, cards
from labkit.data.batches import IMAGE_SETS as IMAGE_SETS
from labkit.data.batches import Batch as Batch
from labkit.data.batches import batch as batch
from labkit.data.batches import normalise as normalise
from labkit.data.image_sets import CIFAR10 as CIFAR10
from labkit.data.image_sets import FASHION_MNIST as FASHION_MNIST
from labkit.data.records import ImageSet as ImageSet
from labkit.data.records import TextSet as TextSet
from labkit.data.text_sets import CALIBRATION_TEXT as CALIBRATION_TEXT
from labkit.data.text_sets import MOVIE_REVIEWS as MOVIE_REVIEWS
from labkit.data.text_sets import STATE_OF_THE_UNION as STATE_OF_THE_UNION
from labkit.data.text_sets import TOPICS as TOPICS

if TYPE_CHECKING:
    from datasets import Dataset

Split = Literal["train", "validation"]
TEXT_SETS = {
    texts.name: texts for texts in (MOVIE_REVIEWS, STATE_OF_THE_UNION, CALIBRATION_TEXT, TOPICS)
}
SETS: dict[str, ImageSet | TextSet] = {**IMAGE_SETS, **TEXT_SETS}
cache_folder = cache.folder


def load(data_set: ImageSet | TextSet, split: Split) -> "Dataset":
    """One split of a data set, from the cache; fetched and verified on first use.

    Raises:
        ValueError: there is no such split for students.
        SourceUnavailable: it is not in the cache, and no source had it.
    """
    if split not in ("train", "validation"):
        raise ValueError(f"split is {split!r}; students have 'train' and 'validation'")
    return cache.read(data_set, split)


def cifar10(split: Split) -> "Dataset":
    """50,000 colour images of 32 x 32 pixels in 10 classes: 45,000 train, 5,000 validation."""
    return load(CIFAR10, split)


def fashion_mnist(split: Split) -> "Dataset":
    """60,000 grey images of 28 x 28 pixels in 10 classes: 55,000 train, 5,000 validation."""
    return load(FASHION_MNIST, split)


def movie_reviews(split: Split) -> "Dataset":
    """Sentences for or against a film: 7,528 train, 1,000 validation; text, label."""
    return load(MOVIE_REVIEWS, split)


def state_of_the_union(split: Split) -> "Dataset":
    """Presidents' addresses since 1790: 194 train, 33 validation; text, year, president."""
    return load(STATE_OF_THE_UNION, split)


def calibration_text(split: Split) -> "Dataset":
    """Passages of six kinds, 500 to 2,000 characters: 3,784 train, 387 validation; text, source."""
    return load(CALIBRATION_TEXT, split)


def topics(split: Split) -> "Dataset":
    """Usenet postings in 20 groups: 10,272 train, 1,000 validation; text, label."""
    return load(TOPICS, split)


def names() -> tuple[str, ...]:
    """All data sets, as `card` takes them and as a lab's configuration names them."""
    return tuple(SETS)


def card(name: str) -> str:
    """What to know about a data set, as Markdown: columns, splits, licence, citation, traps.

    Raises:
        ValueError: there is no data set of this name.
    """
    if name not in SETS:
        raise ValueError(f"no data set is called {name!r}; there are {', '.join(SETS)}")
    return cards.card(SETS[name])
