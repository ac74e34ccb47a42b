"""Texts as tokens: padded batches for classifiers, windows of a stream for language models."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from labkit.tokenizers import END

if TYPE_CHECKING:
    from tokenizers import Tokenizer

IGNORED = -100  # the label of a text that has none; torch's cross-entropy skips it


class TokenBatch(NamedTuple):
    input_ids: Int[Tensor, "count tokens"]  # padded on the right
    attention_mask: Int[Tensor, "count tokens"]  # 1 where a token stands, 0 for padding
    labels: Int[Tensor, " count"]

    def rows(self, chosen: Int[Tensor, " batch"] | slice) -> "TokenBatch":
        return TokenBatch(*(part[chosen] for part in self))

    def trimmed(self) -> "TokenBatch":
        """Without the columns in which every text is padded."""
        longest = max(1, int(self.attention_mask.sum(dim=1).max()))
        return TokenBatch(
            self.input_ids[:, :longest], self.attention_mask[:, :longest], self.labels
        )


def tokenise(
    texts: Sequence[str],
    tokenizer: "Tokenizer",
    max_tokens: int,
    labels: Sequence[int] | None = None,
) -> TokenBatch:
    """Texts as one batch, each cut or padded to `max_tokens`.

    Raises:
        ValueError: as many labels as texts are needed.
    """
    if labels is not None and len(labels) != len(texts):
        raise ValueError(f"{len(texts)} texts with {len(labels)} labels")
    tokenizer.enable_truncation(max_tokens)
    tokenizer.enable_padding(length=max_tokens)
    encoded = tokenizer.encode_batch(list(texts))
    return TokenBatch(
        torch.tensor([text.ids for text in encoded]),
        torch.tensor([text.attention_mask for text in encoded]),
        torch.tensor([IGNORED] * len(texts) if labels is None else list(labels)),
    )


def windows(
    texts: Iterable[str], tokenizer: "Tokenizer", context: int, end: str = END
) -> Int[Tensor, "windows context"]:
    """Texts as one stream of tokens, cut into windows that do not overlap; the rest is dropped.

    Each window holds `context` tokens, of which all but the first are predicted.

    Args:
        end: the token that ends each text; SmolLM2's is `<|endoftext|>`.

    Raises:
        ValueError: the tokenizer has no such token.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    end_id = tokenizer.token_to_id(end)
    if end_id is None:
        raise ValueError(f"the tokenizer has no token {end!r} to end a text with; name its own")
    encoded = tokenizer.encode_batch(list(texts))
    stream = [token for text in encoded for token in (*text.ids, end_id)]
    count = len(stream) // context
    return torch.tensor(stream[: count * context]).view(count, context)
