"""Sequences that a causal language model writes for itself, after prompts of different lengths.

    given      pad pad  a   b                     a prompt ends where the answer begins
    written    pad pad  a   b   c  end pad        behind its first end token a row is padding
    answer      0   0   0   0   1   1   0         the end token counts: it too was decided

Whether a place is padding is said by the mask, never by the token: many vocabularies use one token
for both padding and the end.

Source    Sampling with a cache, end tokens and left padding is transformers' `generate` (5.23);
          Agarwal et al., 2024, arXiv:2306.13649, section 3.1 (sampled at temperature 1, and no
          gradient passes through the sampling).
Differs   `generate` is told to ignore whatever settings a checkpoint brings along (top-k, top-p,
          penalties), since these are sequences of another model.
Left out  Beams; encoder-decoder models.
Read      on_policy.py first.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import GenerationConfig

from reference import walk

Tokens = Int[Tensor, "rows places"]
Places = Bool[Tensor, "rows places"]


@dataclass(frozen=True)
class Sampling:
    """
    Raises:
        ValueError: no token to write, a temperature that is not above 0, or top-p outside (0, 1].
    """

    new_tokens: int  # at most
    end: int | None = None  # the token after which a row is over
    padding: int = 0
    temperature: float = 1.0
    top_p: float = 1.0  # the share of probability that is drawn from

    def __post_init__(self) -> None:
        if self.new_tokens < 1:
            raise ValueError(f"new_tokens must be at least 1, got {self.new_tokens}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")


@dataclass(frozen=True)
class Written:
    tokens: Tokens  # prompt and answer
    stands: Places  # False at padding on either side
    answer: Places  # True at what was written


@torch.no_grad()
def write(
    model: nn.Module,
    prompts: Tokens,
    stands: Places,
    sampling: Sampling,
) -> Written:
    """Sample from a Hugging Face causal model in eval; it is left in its mode.

    Draws are torch's: the caller's seed, or that of `distill_`, decides.

    Raises:
        ValueError: the model cannot generate, or a prompt is empty or padded on the right.
    """
    if not hasattr(model, "generate"):
        raise ValueError(f"{type(model).__name__} has no generate; expected a causal model")
    check_prompts(stands)
    with walk.evaluating(model):
        tokens = _generate(model, prompts, stands, sampling)
    length = prompts.shape[1]
    answer = torch.zeros_like(tokens, dtype=torch.bool)
    answer[:, length:] = _until_end(tokens[:, length:], sampling.end)
    standing = answer.clone()
    standing[:, :length] = stands
    return Written(tokens.masked_fill(~standing, sampling.padding), standing, answer)


def check_prompts(stands: Places) -> None:
    """Raises ValueError: a row whose last place does not stand, or with a gap."""
    ascending = (stands[:, 1:] >= stands[:, :-1]).all(1)
    for row, good in enumerate((ascending & stands[:, -1]).tolist()):
        if not good:
            raise ValueError(f"prompt {row} is empty or padded on the right; pad on the left")


def _generate(model: Any, prompts: Tensor, stands: Tensor, sampling: Sampling) -> Tensor:
    settings = GenerationConfig(
        do_sample=True,
        temperature=sampling.temperature,
        top_k=0,
        top_p=sampling.top_p,
        max_new_tokens=sampling.new_tokens,
        eos_token_id=sampling.end,
        pad_token_id=sampling.padding,
    )
    own, model.generation_config = model.generation_config, settings
    try:
        return model.generate(input_ids=prompts, attention_mask=stands.long())
    finally:
        model.generation_config = own


def _until_end(written: Tensor, end: int | None) -> Tensor:
    if end is None:
        return torch.ones_like(written, dtype=torch.bool)
    ends = (written == end).long()
    return ends.cumsum(1) - ends == 0
