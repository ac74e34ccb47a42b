"""The sources of each text set, and how its hidden part is made from them."""

from collections.abc import Callable
from functools import partial

from labkit.sources import (
    calibration_text,
    chain,
    movie_reviews,
    state_of_the_union,
    texts,
    topics,
)
from labkit.sources.texts import Public, Rows

SOURCES: dict[str, dict[str, Callable[[], Public]]] = {
    "movie_reviews": {
        "hub": movie_reviews.from_hub,
        "registry package": movie_reviews.from_package,
    },
    "state_of_the_union": {"registry package": state_of_the_union.from_package},
    "calibration_text": {"registry package": calibration_text.from_package},
    "topics": {"registry package": topics.from_package},
}
HIDDEN: dict[str, Callable[[Public], Rows]] = {
    "movie_reviews": movie_reviews.hidden,
    "state_of_the_union": state_of_the_union.hidden,
    "topics": topics.hidden,
}


def fetch(name: str, digest: str) -> Public:
    """Train and validation in canonical order, from the first source that has them.

    Raises:
        SourceUnavailable: no source had them; the message tells what each one said, and how
            to fetch the file by hand.
    """
    title = f"{name} (train and validation)"
    return chain.first_proved(title, SOURCES[name], texts.public_digest, digest)


def fetch_hidden(name: str, public_digest: str, digest: str) -> Rows:
    """What students never get, without any text that is in train or validation.

    Raises:
        SourceUnavailable: as `fetch`.
    """
    public = fetch(name, public_digest)
    sources = {"registry package": partial(HIDDEN[name], public)}
    return chain.first_proved(f"{name} (hidden)", sources, texts.digest, digest)
