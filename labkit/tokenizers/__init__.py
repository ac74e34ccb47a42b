"""Tokenizers small enough that embeddings do not drown a small model's compression ratio.

Byte-level pair encodings (Sennrich et al. 2016) in Hugging Face's `tokenizer.json`, trained on
the train part alone by `python -m labkit.tokenizers.train`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = "<|end|>"  # ends a text in a stream, and pads a batch; always the id 0
_FOLDER = Path(__file__).parent


def load(name: str) -> "Tokenizer":
    """A shipped tokenizer.

    Raises:
        ValueError: there is none of that name.
    """
    from tokenizers import Tokenizer

    if name not in names():
        raise ValueError(f"there is no tokenizer {name!r}; there are {', '.join(names())}")
    return Tokenizer.from_file(str(path(name)))


def path(name: str) -> Path:
    """The `tokenizer.json`, for `transformers.PreTrainedTokenizerFast(tokenizer_file=...)`."""
    return _FOLDER / f"{name}.json"


def names() -> list[str]:
    return sorted(file.stem for file in _FOLDER.glob("*.json"))
