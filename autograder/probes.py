"""Does a model answer as a model, or has it learned the examination?

Three questions beside the graded one: is an answer the same for an example alone, does accuracy
hold on examples that are nearly the same, and (language models) does a prediction know what comes
after it? A table of answers by input, state between examples, and attention to the future each
fail one. Limits are wide: dynamic quantization shares one scale between the examples of a batch.
"""

import secrets
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from autograder.examples import Examples
from autograder.ruler import Ruler

ALONE = 48  # examples that are asked for one by one
SHIFTED = 512  # examples that are asked for shifted
SHIFTED_BATCH = 64
LEAST_AGREEMENT = 0.90  # between an example's answer in a batch and alone
LEAST_KEPT = 0.80  # of what is kept of the baseline's quality, when the examples are shifted


@dataclass(frozen=True)
class Probed:
    """What the probes found, from 0 to 1, and what is wrong with it in words; empty if nothing."""

    alone: float  # agreement of answers
    shifted: float  # kept on shifted examples, over kept on the same examples as they are
    future: float = 1.0  # agreement of a loss with and without what follows; 1 for classifiers

    @property
    def fault(self) -> str:
        if self.alone < LEAST_AGREEMENT:
            return (
                f"Of an example alone and in a batch the answers agree to {100 * self.alone:.0f} "
                f"%, at least {100 * LEAST_AGREEMENT:.0f} % must: an answer may depend on its own "
                "example only. Look for normalisation with statistics of the batch."
            )
        if self.shifted < LEAST_KEPT:
            return (
                f"On examples that are shifted a little the model keeps {100 * self.shifted:.0f} % "
                f"of what it keeps on the examples themselves, at least {100 * LEAST_KEPT:.0f} % "
                "must be: it knows these very examples rather than the task."
            )
        if self.future < LEAST_AGREEMENT:
            return (
                "Predictions with and without the tokens that follow agree to "
                f"{100 * self.future:.0f} %: the model sees the future. Its attention must be "
                "causal."
            )
        return ""


def probe(
    model: Path, scores: Tensor, answers: Tensor, baseline: tuple[Tensor, Tensor], ruler: Ruler
) -> Probed:
    """Ask the model once more, in one process.

    Args:
        scores: of the model, for every hidden example.
        answers: of the model, for every hidden example.
        baseline: the baseline's scores of the hidden examples, and of the shifted ones.

    Raises:
        DoesNotRun, TooSlow: as `Ruler.run` does.
    """
    examples = ruler.examples
    generator = torch.Generator().manual_seed(secrets.randbits(63))
    chosen = torch.randperm(len(examples), generator=generator)[:ALONE]
    alone, shifted = examples.rows(chosen), examples.rows(slice(0, SHIFTED)).shifted()
    ending = alone.without_future() if examples.labels is None else None
    asked = [alone.rows(slice(row, row + 1)) for row in range(len(alone))]
    parts = [asked, batches(shifted), [ending] if ending else []]
    found = ruler.run(model, list(chain.from_iterable(parts)))
    one_by_one = torch.cat(found[: len(alone)])
    moved = torch.cat(found[len(alone) : len(alone) + len(parts[1])])
    plain = _kept(scores[: len(shifted)], baseline[0][: len(shifted)])
    kept = _kept(shifted.score(moved), baseline[1])
    future = 1.0
    if ending:
        last = found[-1].shape[1] - 1
        future = _agreement(answers[chosen][:, last], found[-1][:, last], examples)
    return Probed(_agreement(answers[chosen], one_by_one, examples), kept / plain, future)


def batches(examples: Examples) -> list[Examples]:
    """A few rows at a time, in their order."""
    starts = range(0, len(examples), SHIFTED_BATCH)
    return [examples.rows(slice(start, start + SHIFTED_BATCH)) for start in starts]


def _agreement(one: Tensor, other: Tensor, examples: Examples) -> float:
    """Share of equal decisions; of losses, how little they differ in proportion."""
    if examples.labels is not None:
        return (one.argmax(dim=1) == other.argmax(dim=1)).float().mean().item()
    return max(0.0, 1 - ((one - other).abs().mean() / one.mean().clamp(min=1e-6)).item())


def _kept(scores: Tensor, baseline: Tensor) -> float:
    """Quality over the baseline's: of right answers their share, of losses the inverse."""
    mine, theirs = (part.double().mean().clamp(min=1e-3).item() for part in (scores, baseline))
    return mine / theirs if scores.dtype == torch.bool else theirs / mine
