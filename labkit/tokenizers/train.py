"""Train the shipped tokenizers: `python -m labkit.tokenizers.train` (seconds, deterministic)."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from labkit import data
from labkit.tokenizers import END, path

VOCABULARIES = {"movie_reviews": 2048, "state_of_the_union": 1024}


def train(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE with `vocabulary` entries, `END` the first: no text is ever unknown."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def main() -> None:
    movie_reviews = list(data.movie_reviews("train")["text"])
    speeches = list(data.state_of_the_union("train")["text"])
    for name, texts in (("movie_reviews", movie_reviews), ("state_of_the_union", speeches)):
        train(texts, VOCABULARIES[name]).save(str(path(name)))


if __name__ == "__main__":
    main()
