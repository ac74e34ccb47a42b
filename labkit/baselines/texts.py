"""What the text baselines share: movie reviews as tokens, and accuracy as the measure."""

from typing import TYPE_CHECKING

from torch import nn

from labkit import data
from labkit.baselines.recipe import Study
from labkit.evaluation import text_logits
from labkit.intervals import Score, accuracy_score
from labkit.sources import text_sets
from labkit.sources.texts import Labelled
from labkit.tasks import TextClassification
from labkit.text import TokenBatch, tokenise

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def study(tokenizer: "Tokenizer", max_tokens: int, label_smoothing: float = 0.0) -> Study:
    train, validation = (_tokens(split, tokenizer, max_tokens) for split in ("train", "validation"))
    return Study(
        task=TextClassification(train, validation, label_smoothing),
        validation=lambda model: _accuracy(model, validation),
        test=lambda model: _accuracy(model, _test(tokenizer, max_tokens)),
        comparisons={"chance": 0.5},
    )


def _tokens(split: data.Split, tokenizer: "Tokenizer", max_tokens: int) -> TokenBatch:
    rows = data.movie_reviews(split)
    return tokenise(list(rows["text"]), tokenizer, max_tokens, list(rows["label"]))


def _test(tokenizer: "Tokenizer", max_tokens: int) -> TokenBatch:
    reviews = data.TEXT_SETS["movie_reviews"]
    digest = reviews.hidden_digest or ""
    rows = text_sets.fetch_hidden("movie_reviews", reviews.public_digest, digest)
    labels = [row.label for row in rows if isinstance(row, Labelled)]
    return tokenise([row.text for row in rows], tokenizer, max_tokens, labels)


def _accuracy(model: nn.Module, batch: TokenBatch) -> Score:
    right = int((text_logits(model, batch).argmax(dim=1) == batch.labels).sum())
    return accuracy_score(right, len(batch.labels))
