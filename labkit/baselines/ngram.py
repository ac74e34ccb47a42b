"""What counting words gets: the unigram and trigram perplexities that a network must beat.

Source    Witten and Bell, The Zero-Frequency Problem, 1991, method C, interpolated.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

Windows = Int[Tensor, "windows context"]
Keys = Int[NDArray[np.int64], "windows runs"]


class Counts(NamedTuple):
    """How often each of some numbers occurs; `keys` are sorted."""

    keys: NDArray[np.int64]
    counts: NDArray[np.int64]

    def of(self, keys: Keys) -> Keys:
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[places] == keys, self.counts[places], 0)


def perplexities(train: Windows, test: Windows, vocabulary: int) -> dict[str, float]:
    """Unigram and trigram perplexity per predicted token of `test`, counted on `train`."""
    found = {}
    for name, order in (("unigram", 1), ("trigram", 3)):
        likelihoods = probabilities(train, test, vocabulary, order)
        found[name] = float(np.exp(-np.log(likelihoods).mean()))
    return found


def probabilities(
    train: Windows, test: Windows, vocabulary: int, order: int
) -> Float[NDArray[np.float64], "windows predicted"]:
    """Of every token of `test` but each window's first, given at most `order` - 1 before it.

    With c(h w) the times that w followed h, and T(h) the number of different tokens that did:

        P(w | h) = (c(h w) + T(h) P(w | shorter h)) / (c(h) + T(h)),  and 1 / vocabulary below all
    """
    likelihoods = np.full((len(test), test.shape[1] - 1), 1 / vocabulary)
    for length in range(1, order + 1):
        runs = _keys(train, length, vocabulary)
        together = Counts(*np.unique(runs, return_counts=True))
        history = Counts(*np.unique(runs // vocabulary, return_counts=True))
        followers = Counts(*np.unique(together.keys // vocabulary, return_counts=True))
        asked = _keys(test, length, vocabulary)[:, length == 1 :]  # a window's first is not asked
        known = slice(likelihoods.shape[1] - asked.shape[1], None)  # where a history is that long
        seen, different = history.of(asked // vocabulary), followers.of(asked // vocabulary)
        shorter = likelihoods[:, known]
        weighed = (together.of(asked) + different * shorter) / np.maximum(seen + different, 1)
        likelihoods[:, known] = np.where(seen > 0, weighed, shorter)
    return likelihoods


def _keys(windows: Windows, length: int, vocabulary: int) -> Keys:
    """Each run of `length` tokens inside a window, as one number in base `vocabulary`."""
    tokens = windows.numpy().astype(np.int64)
    width = tokens.shape[1] - length + 1
    keys = np.zeros((len(tokens), width), np.int64)
    for place in range(length):
        keys = keys * vocabulary + tokens[:, place : place + width]
    return keys
