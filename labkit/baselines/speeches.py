"""What the language models share: the State of the Union as windows, and perplexity."""

from labkit import data, tokenizers
from labkit.baselines import ngram
from labkit.baselines.recipe import Study
from labkit.evaluation import token_losses
from labkit.intervals import perplexity_score
from labkit.sources import text_sets
from labkit.tasks import LanguageModelling
from labkit.text import windows

CONTEXT = 128  # tokens of a window; the first is given, the others are predicted


def study() -> Study:
    tokenizer = tokenizers.load("state_of_the_union")
    train, validation = (
        windows(data.state_of_the_union(split)["text"], tokenizer, CONTEXT)
        for split in ("train", "validation")
    )
    test = windows(_test_texts(), tokenizer, CONTEXT)
    vocabulary = tokenizer.get_vocab_size()
    return Study(
        task=LanguageModelling(train, validation),
        validation=lambda model: perplexity_score(token_losses(model, validation)),
        test=lambda model: perplexity_score(token_losses(model, test)),
        comparisons=ngram.perplexities(train, test, vocabulary),
    )


def _test_texts() -> list[str]:
    speeches = data.TEXT_SETS["state_of_the_union"]
    digest = speeches.hidden_digest or ""
    rows = text_sets.fetch_hidden(speeches.name, speeches.public_digest, digest)
    return [row.text for row in rows]
