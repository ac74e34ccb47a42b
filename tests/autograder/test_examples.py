"""Hidden examples and the probes that are made of them, with models that cheat in known ways."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autograder import probes
from autograder.examples import Examples
from autograder.probes import Probed, probe
from labkit.export import images, texts, tokens

PICTURES = torch.randn(600, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = (PICTURES.mean(dim=(1, 2, 3)) > 0).long()
IMAGES = Examples("images", {"images": PICTURES}, LABELS, images((3, 8, 8), 2))
STREAM = torch.arange(600 * 16).remainder(50).view(600, 16)
WINDOWS = Examples("windows", {"input_ids": STREAM}, None, tokens(64, 16))
IDS = torch.tensor([[5, 6, 7, 8, 0, 0], [5, 6, 0, 0, 0, 0]])
TEXTS = Examples(
    "texts", {"input_ids": IDS, "attention_mask": (IDS > 0).long()}, torch.tensor([0, 1]),
    texts(2, 64, 6),
)  # fmt: skip


class Answering:
    """In place of a ruler: a model that is a function of one batch."""

    def __init__(self, examples: Examples, model: Any) -> None:
        self.examples, self.model = examples, model

    def run(self, model: Path, batches: list[Examples]) -> list[Tensor]:
        return [self.model(batch) for batch in batches]


def _probed(examples: Examples, model: Any) -> Probed:
    def honest(batch: Examples) -> Tensor:
        return (
            _bright(batch)
            if batch.labels is not None
            else torch.full((len(batch), batch.tokens - 1), 2.0)
        )

    (answers,) = Answering(examples, model).run(Path(), [examples])
    plain, moved = examples, examples.rows(slice(0, probes.SHIFTED)).shifted()
    theirs = plain.score(honest(plain)), moved.score(honest(moved))
    ruler: Any = Answering(examples, model)
    return probe(Path(), examples.score(answers), answers, theirs, ruler)


def _bright(batch: Examples) -> Tensor:
    mean = batch.inputs["images"].mean(dim=(1, 2, 3))
    return torch.stack([-mean, mean], dim=1)


def test_an_honest_classifier_has_no_fault() -> None:
    assert _probed(IMAGES, _bright).fault == ""


def test_a_model_that_normalises_over_the_batch_is_found() -> None:
    def model(batch: Examples) -> Tensor:
        logits = _bright(batch)
        return logits - logits.mean(dim=0)

    assert "its own example only" in _probed(IMAGES, model).fault


def test_a_table_of_the_examination_is_found() -> None:
    """It knows every hidden image by heart, and guesses what it has not seen."""
    table = {
        picture.numpy().tobytes(): label for picture, label in zip(PICTURES, LABELS, strict=True)
    }

    def model(batch: Examples) -> Tensor:
        known = [int(table.get(p.numpy().tobytes(), 0)) for p in batch.inputs["images"]]
        return torch.nn.functional.one_hot(torch.tensor(known), 2).float()

    assert "rather than the task" in _probed(IMAGES, model).fault


def test_a_language_model_that_reads_ahead_is_found() -> None:
    def model(batch: Examples) -> Tensor:
        """Certain of every token that it has been given already, one place too early."""
        losses = torch.full((len(batch), batch.tokens - 1), 0.01)
        losses[:, -1] = 4.0  # the last one to be predicted is no input
        return losses

    assert "sees the future" in _probed(WINDOWS, model).fault


def test_a_causal_language_model_has_no_fault() -> None:
    def model(batch: Examples) -> Tensor:
        return 1.0 + batch.inputs["input_ids"][:, 1:].remainder(3).float()

    assert _probed(WINDOWS, model).fault == ""


def test_small_rounding_differences_between_batches_are_no_fault() -> None:
    """As dynamic quantization makes them: one scale for all examples of a batch."""

    def model(batch: Examples) -> Tensor:
        logits = _bright(batch)
        scale = logits.abs().max() / 127
        return (logits / scale).round() * scale

    assert _probed(IMAGES, model).fault == ""


def test_a_shifted_image_is_the_image_two_pixels_to_the_right() -> None:
    moved = IMAGES.shifted().inputs["images"]
    assert torch.equal(moved[..., 2:], PICTURES[..., :-2])
    assert torch.equal(moved[..., 0], PICTURES[..., 0])


def test_a_shifted_text_lacks_the_token_in_its_middle() -> None:
    moved = TEXTS.shifted().inputs
    assert moved["input_ids"].tolist() == [[5, 6, 8, 0, 0], [5, 0, 0, 0, 0]]
    assert moved["attention_mask"].sum(dim=1).tolist() == [3, 1]


def test_shifted_windows_begin_half_a_window_later() -> None:
    moved = WINDOWS.shifted().inputs["input_ids"]
    assert moved.shape == (599, 16)
    assert torch.equal(moved[0], STREAM.flatten()[8:24])


def test_windows_without_their_future_end_in_the_middle() -> None:
    assert torch.equal(WINDOWS.without_future().inputs["input_ids"], STREAM[:, :9])


def test_texts_go_in_without_the_columns_that_are_all_padding() -> None:
    assert TEXTS.feed()["input_ids"].shape == (2, 4)
    assert replace(TEXTS.rows(slice(1, 2))).feed()["input_ids"].shape == (1, 2)


@pytest.mark.parametrize("examples", [IMAGES, TEXTS, WINDOWS], ids=lambda e: e.kind)
def test_rows_keep_inputs_and_labels_together(examples: Examples) -> None:
    chosen = examples.rows(torch.tensor([1, 0]))
    for name, values in chosen.inputs.items():
        assert torch.equal(values[0], examples.inputs[name][1])
    assert len(chosen) == 2
