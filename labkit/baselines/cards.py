"""Model cards: what a reader must know before building on a baseline, rendered from its record."""

from typing import TYPE_CHECKING, Any

from labkit.intervals import Score

if TYPE_CHECKING:
    from labkit.baselines import BaselineRecord


def render(record: "BaselineRecord", spec: dict[str, Any], base: str | None, licence: str) -> str:
    """A baseline's card in Markdown."""
    sizes = ", ".join(f"{field} {value}" for field, value in spec.items())
    beside = ", ".join(f"{name} {_figure(v)}" for name, v in record.comparisons.items())
    start = f"Tuned from the pretrained model `{base}`." if base else "Trained from scratch."
    return f"""# {record.name}

{start} {sizes}. {record.parameters:,} parameters.

- Data: `{record.dataset}` ({licence}). Its card: `data.card("{record.dataset}")`.
- Validation: {_score(record.validation)}. It chose the epoch, so it flatters a little.
- Hidden test: {_score(record.test)}. It chose nothing.
- On the same test examples: {beside}.
- Made by `{record.command}` in {record.train_seconds / 60:.0f} minutes of two cores,
  {record.epochs} epochs, seed {record.seed}.

For teaching compression. It knows its data set alone: use it for nothing that matters to anybody.
"""


def _score(score: Score) -> str:
    interval = f"{_figure(score.low)} to {_figure(score.high)}"
    return f"{score.metric} {_figure(score.value)} ({interval}, {score.count:,} answers)"


def _figure(value: float) -> str:
    return f"{value:.2f}" if value > 1 else f"{100 * value:.2f} %"
