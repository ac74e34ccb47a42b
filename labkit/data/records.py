"""What is true of a data set wherever it was fetched: the words of its card, and its digests."""

from dataclasses import dataclass
from typing import NamedTuple


class Column(NamedTuple):
    name: str
    meaning: str


class Part(NamedTuple):
    """A split that students get, or `hidden`, which the grader alone reads."""

    name: str
    rows: int
    origin: str


@dataclass(frozen=True)
class About:
    """What a person should know before using the set. `data.card` renders it."""

    title: str
    description: str
    columns: tuple[Column, ...]
    parts: tuple[Part, ...]
    licence: str
    citation: str
    fetched_from: str
    traps: tuple[str, ...]

    def rows(self, part: str) -> int:
        return {known.name: known.rows for known in self.parts}[part]


@dataclass(frozen=True)
class ImageSet:
    """One set of labelled images."""

    name: str
    about: About
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # channels, height, width
    mean: tuple[float, ...]  # per channel, of train pixels scaled to 0..1
    std: tuple[float, ...]
    validation_count: int
    train_digest: str  # sha256 of the canonical train part, before validation is split off
    test_digest: str

    @property
    def public_digest(self) -> str:
        return self.train_digest


@dataclass(frozen=True)
class TextSet:
    """One set of texts, labelled if it has classes."""

    name: str
    about: About
    classes: tuple[str, ...]
    public_digest: str  # of train and validation, see `sources.texts.public_digest`
    hidden_digest: str | None  # None: nothing of it is hidden
